//! The Flight service: checks who calls, reads what a stream is for, and hands it over to [`Doors`].
//!
//! Position: one per node, put into a server by `server`. Everything that comes is untrusted until its token has been checked, and
//! stays bytes of a limited size after that. Calls of Flight that arneb has no use for are answered with "unimplemented".

use std::{sync::Arc, time::Duration};

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo,
    PutResult, SchemaResult, Ticket,
    flight_service_server::{FlightService, FlightServiceServer},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, service::interceptor::InterceptedService};

use super::{Doors, MESSAGE_BYTES_MAX, StreamOpen, messages};
use crate::cluster::security::{Refusal, Security};

/// How long a caller may take to say what its stream is for.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// The service, behind the check of tokens that every call has to pass, whatever it is.
pub(super) fn guarded(
    doors: Arc<dyn Doors>,
    security: Arc<Security>,
) -> InterceptedService<FlightServiceServer<Service>, impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static> {
    let gate = move |request: Request<()>| match authenticate(&security, &request) {
        Ok(()) => Ok(request),
        Err(refusal) => {
            tracing::debug!(%refusal, from = ?request.remote_addr(), "call refused");
            Err(Status::unauthenticated(refusal.to_string()))
        }
    };
    let service = FlightServiceServer::new(Service { doors }).max_decoding_message_size(MESSAGE_BYTES_MAX);
    InterceptedService::new(service, gate)
}

fn authenticate(security: &Security, request: &Request<()>) -> Result<(), Refusal> {
    let value = request.metadata().get("authorization").ok_or(Refusal::NoToken)?;
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    security.check(text.strip_prefix("Bearer ").ok_or(Refusal::Malformed)?)
}

/// See the module.
pub(super) struct Service {
    doors: Arc<dyn Doors>,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn no_use(call: &str) -> Status {
    Status::unimplemented(format!("nodes of arneb talk by DoExchange and DoAction only, not by {call}"))
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(OPENING_TIMEOUT, inbound.next()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("the stream does not say what it is for"))?;
        let first = first.ok_or_else(|| Status::invalid_argument("the stream ended before it said what it is for"))??;
        let open = stream_open(&first)?;
        let (outbound, mut answers) = mpsc::unbounded_channel();
        self.doors.stream(open, outbound, inbound.boxed()).await?;
        Ok(Response::new(stream::poll_fn(move |context| answers.poll_recv(context)).map(Ok).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let action = request.into_inner();
        let body = self.doors.action(&action.r#type, action.body).await?;
        Ok(Response::new(stream::once(async { Ok(arrow_flight::Result { body }) }).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(no_use("Handshake"))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(no_use("ListFlights"))
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(no_use("GetFlightInfo"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(no_use("PollFlightInfo"))
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(no_use("GetSchema"))
    }

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        Err(no_use("DoGet"))
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(no_use("DoPut"))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(no_use("ListActions"))
    }
}

fn stream_open(first: &FlightData) -> Result<StreamOpen, Status> {
    let descriptor = first.flight_descriptor.as_ref();
    let descriptor = descriptor.ok_or_else(|| Status::invalid_argument("the first message does not say what the stream is for"))?;
    messages::from_bytes(&descriptor.cmd).map_err(|error| Status::invalid_argument(error.to_string()))
}
