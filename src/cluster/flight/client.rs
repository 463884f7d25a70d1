//! Connections to other nodes, kept, and the calls over them.
//!
//! Position: used by whoever opens streams or asks questions; one [`Peers`] per runtime, for a connection lives on the runtime that made
//! it. Control and rows have connections of their own to each node: rows in a full socket must not hold up a cancellation or a
//! heartbeat.

use std::{collections::HashMap, error::Error as StdError, io, sync::Arc, time::Duration};

use arrow_flight::{Action, FlightData, FlightDescriptor, flight_service_client::FlightServiceClient};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::timeout};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{
    CONNECTION_WINDOW, FlightReceiver, FlightSender, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_BYTES_MAX, STREAM_WINDOW, StreamOpen,
    messages,
};
use crate::{
    cluster::security::Security,
    error::{Error, ErrorKind, Result},
};

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the other side may take to accept or refuse a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Which of the connections to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Small messages that must not wait.
    Control,
    /// Rows.
    Data,
}

/// Connections to other nodes.
pub struct Peers {
    security: Arc<Security>,
    channels: Mutex<HashMap<(String, Lane), Connection>>,
}

/// Equal numbers mean the same connection: a later one to the same address is not dropped for the failure of an earlier.
#[derive(Clone)]
struct Connection {
    number: uuid::Uuid,
    channel: Channel,
}

/// What came of knocking at a node's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knock {
    /// It answers, with this.
    Answered(Bytes),
    /// Nobody is there: the machine answers that the port is closed, or ends the connection.
    Refused(String),
    /// No answer, or none that says anything about the node.
    Silent(String),
}

impl Peers {
    /// Without connections; they are made when they are needed.
    pub fn new(security: Arc<Security>) -> Arc<Self> {
        Arc::new(Peers { security, channels: Mutex::default() })
    }

    /// Opens a stream to the node at `address` (`host:port`); returns when the node has accepted it.
    ///
    /// # Errors
    /// The node cannot be reached, or refuses ([`is_refusal`]).
    pub async fn open(self: &Arc<Self>, lane: Lane, address: &str, open: &StreamOpen) -> Result<(FlightSender, FlightReceiver)> {
        let connection = self.connection(lane, address).await?;
        let (outbound, mut queue) = mpsc::unbounded_channel();
        let first = FlightData { flight_descriptor: Some(FlightDescriptor::new_cmd(messages::to_bytes(open))), ..FlightData::default() };
        let messages = stream::iter([first]).chain(stream::poll_fn(move |context| queue.poll_recv(context)));
        let mut client = client(connection.channel.clone());
        let request = self.request(messages)?;
        let answers = match timeout(OPEN_TIMEOUT, client.do_exchange(request)).await {
            Ok(Ok(response)) => response.into_inner().boxed(),
            Ok(Err(status)) => return Err(self.failed(lane, address, &connection, &status)),
            Err(_) => {
                self.drop_connection(lane, address, &connection);
                return Err(unreachable(address, "no answer to a stream that was opened"));
            }
        };
        Ok((outbound, self.watched(lane, address, connection, answers)))
    }

    /// Asks the node at `address` a question.
    ///
    /// # Errors
    /// The node cannot be reached, does not answer in time, or refuses ([`is_refusal`]).
    pub async fn action(&self, address: &str, kind: &str, body: Bytes, limit: Duration) -> Result<Bytes> {
        let ask = async {
            let connection = self.connection(Lane::Control, address).await?;
            let asked = self.ask(connection.channel.clone(), kind, body).await?;
            asked.map_err(|status| self.failed(Lane::Control, address, &connection, &status))
        };
        timeout(limit, ask).await.unwrap_or_else(|_| Err(unreachable(address, &format!("no answer to \"{kind}\" in {limit:?}"))))
    }

    /// Asks a question over a connection of its own, to learn whether the node at `address` is there at all.
    pub async fn knock(&self, address: &str, kind: &str, limit: Duration) -> Knock {
        let ask = async {
            let endpoint = match self.endpoint(address) {
                Ok(endpoint) => endpoint,
                Err(error) => return Knock::Silent(error.message),
            };
            let channel = match endpoint.connect().await {
                Ok(channel) => channel,
                Err(error) if is_closed(&error) => return Knock::Refused(causes(&error)),
                Err(error) => return Knock::Silent(causes(&error)),
            };
            match self.ask(channel, kind, Bytes::new()).await {
                Ok(Ok(answer)) => Knock::Answered(answer),
                Ok(Err(status)) if is_closed(&status) => Knock::Refused(causes(&status)),
                Ok(Err(status)) => Knock::Silent(status.message().to_owned()),
                Err(error) => Knock::Silent(error.message),
            }
        };
        timeout(limit, ask).await.unwrap_or_else(|_| Knock::Silent(format!("no answer in {limit:?}")))
    }

    /// Drops the connections to an address: the next call makes new ones. Streams that are open go on.
    pub fn forget(&self, address: &str) {
        self.channels.lock().retain(|(known, _), _| known != address);
    }

    async fn ask(&self, channel: Channel, kind: &str, body: Bytes) -> Result<Result<Bytes, Status>> {
        let request = self.request(Action { r#type: kind.to_owned(), body })?;
        let answer = async {
            let mut answers = client(channel).do_action(request).await?.into_inner();
            let answer = answers.next().await.ok_or_else(|| Status::internal("the answer is empty"))?;
            Ok(answer?.body)
        };
        Ok(answer.await)
    }

    async fn connection(&self, lane: Lane, address: &str) -> Result<Connection> {
        let key = (address.to_owned(), lane);
        if let Some(connection) = self.channels.lock().get(&key) {
            return Ok(connection.clone());
        }
        let channel = self.endpoint(address)?.connect().await.map_err(|error| unreachable(address, &causes(&error)))?;
        let connection = Connection { number: uuid::Uuid::now_v7(), channel };
        // Two who connect at once both keep working; the first one's connection stays.
        Ok(self.channels.lock().entry(key).or_insert(connection).clone())
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint> {
        let scheme = if self.security.tls().is_some() { "https" } else { "http" };
        let invalid = |error: tonic::transport::Error| {
            Error::new(ErrorKind::Cluster, "58030", format!("\"{address}\" is no address of a node: {}", causes(&error)))
        };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(invalid)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW);
        match self.security.tls() {
            Some(tls) => endpoint.tls_config(tls.client()).map_err(invalid),
            None => Ok(endpoint),
        }
    }

    fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let token: MetadataValue<Ascii> =
            format!("Bearer {}", self.security.token()).parse().map_err(|_| Error::internal("a token is not a header"))?;
        request.metadata_mut().insert("authorization", token);
        Ok(request)
    }

    /// The answers of a stream, dropping the connection from the cache when they end in an error of transport.
    fn watched(
        self: &Arc<Self>,
        lane: Lane,
        address: &str,
        connection: Connection,
        answers: BoxStream<'static, Result<FlightData, Status>>,
    ) -> FlightReceiver {
        let peers = Arc::clone(self);
        let address = address.to_owned();
        let watch = move |answer: &Result<FlightData, Status>| {
            if let Err(status) = answer
                && is_broken(status)
            {
                peers.drop_connection(lane, &address, &connection);
            }
        };
        answers.inspect(watch).boxed()
    }

    fn failed(&self, lane: Lane, address: &str, connection: &Connection, status: &Status) -> Error {
        if !is_broken(status) {
            return failure(status).with_detail(format!("the node at {address} says so"));
        }
        self.drop_connection(lane, address, connection);
        unreachable(address, &causes(status))
    }

    fn drop_connection(&self, lane: Lane, address: &str, connection: &Connection) {
        let key = (address.to_owned(), lane);
        let mut channels = self.channels.lock();
        if channels.get(&key).is_some_and(|current| current.number == connection.number) {
            channels.remove(&key);
        }
    }
}

fn client(channel: Channel) -> FlightServiceClient<Channel> {
    FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// SQLSTATE of a node that answers "no".
const REFUSED: &str = "55000";

/// SQLSTATE of a node that does not take our token.
const UNAUTHENTICATED: &str = "28000";

/// Whether an error of a call means that the other node is there and has said no.
pub fn is_refusal(error: &Error) -> bool {
    [REFUSED, UNAUTHENTICATED].contains(&error.sqlstate.0)
}

/// What the other side of a stream says, or what happened to the stream, as an error.
pub fn failure(status: &Status) -> Error {
    let (sqlstate, message) = match status.code() {
        Code::Unauthenticated => (UNAUTHENTICATED, status.message().to_owned()),
        _ if is_broken(status) => ("58030", format!("the connection to another node broke: {}", causes(status))),
        _ => (REFUSED, status.message().to_owned()),
    };
    Error::new(ErrorKind::Cluster, sqlstate, message)
}

fn unreachable(address: &str, why: &str) -> Error {
    Error::new(ErrorKind::Cluster, "58030", format!("cannot reach the node at {address}: {why}"))
}

/// Whether a status is of the transport, not of the node: then it has a cause, or a code that our doors do not use.
fn is_broken(status: &Status) -> bool {
    StdError::source(status).is_some()
        || matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded)
}

/// Whether the machine at the other end says that nobody listens there any more.
fn is_closed(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| {
        let closed = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        };
        error.downcast_ref::<io::Error>().is_some_and(closed)
    })
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// An error with all that caused it: the outer ones of the transport say nothing ("transport error").
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = vec![];
    for error in chain(error) {
        let text = match error.downcast_ref::<Status>() {
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        // Some texts of the transport go on with the debug form of what they wrap.
        let text = text.split(": code: '").next().unwrap_or_default().to_owned();
        if !text.is_empty() && !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    if texts.len() > 1 {
        texts.retain(|text| text != "transport error");
    }
    texts.join(": ")
}
