//! What all messages of one client share: its session, and the means to stop its running statement.
//!
//! Position: made per socket; the handlers of messages are implementations on it, in their own files.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pgwire::messages::response::TransactionStatus;
use pipelines::CancelToken;
use tokio::{io::Interest, net::TcpStream, task::JoinHandle};

use super::cancel::Cancellations;
use crate::{
    error::{Error, ErrorKind, Result},
    session::{Session, Transaction},
};

/// How often a running statement looks whether its client is still there.
const CLIENT_CHECK: Duration = Duration::from_millis(40);

/// One client.
pub struct Connection {
    session: Arc<Mutex<Session>>,
    cancellations: Arc<Cancellations>,
    socket: Arc<TcpStream>,
    /// Of the statement that runs, or ran last.
    cancel: Mutex<CancelToken>,
    pid: Mutex<Option<i32>>,
}

impl Connection {
    /// A connection before login. `socket` is only looked at, never read.
    pub fn new(session: Session, cancellations: Arc<Cancellations>, socket: TcpStream) -> Self {
        Connection {
            session: Arc::new(Mutex::new(session)),
            cancellations,
            socket: Arc::new(socket),
            cancel: Mutex::new(CancelToken::new()),
            pid: Mutex::new(None),
        }
    }

    /// The registry it belongs to.
    pub fn cancellations(&self) -> Arc<Cancellations> {
        Arc::clone(&self.cancellations)
    }

    /// Remembers the process id it told its client.
    pub fn logged_in(&self, pid: i32) {
        *self.pid.lock() = Some(pid);
    }

    /// Stops the running statement.
    pub fn cancel(&self) {
        self.cancel.lock().cancel();
    }

    /// Stops the running statement and leaves the registry.
    pub fn close(&self) {
        self.cancel();
        if let Some(pid) = *self.pid.lock() {
            self.cancellations.forget(pid);
        }
    }

    /// Runs `work` on the session, on a thread that may block.
    ///
    /// # Errors
    /// Those of `work`; an internal error if it panics.
    pub async fn with_session<T: Send + 'static>(&self, work: impl FnOnce(&mut Session) -> Result<T> + Send + 'static) -> Result<T> {
        let session = Arc::clone(&self.session);
        match tokio::task::spawn_blocking(move || work(&mut session.lock())).await {
            Ok(result) => result,
            Err(panic) => Err(Error::internal(format!("the statement could not be planned: {panic}"))),
        }
    }

    /// The session, for looks that take no time.
    pub fn session(&self) -> &Mutex<Session> {
        &self.session
    }

    /// The protocol's state byte.
    pub fn transaction_status(&self) -> TransactionStatus {
        match self.session.lock().transaction() {
            Transaction::Idle => TransactionStatus::Idle,
            Transaction::Active => TransactionStatus::Transaction,
            Transaction::Failed => TransactionStatus::Error,
        }
    }

    /// A new statement: it can be cancelled from now on, and is when its client leaves or its time is over.
    pub fn begin_statement(&self) -> RunningStatement {
        let cancel = CancelToken::new();
        *self.cancel.lock() = cancel.clone();
        let timed_out = Arc::new(AtomicBool::new(false));
        let timeout = self.session.lock().settings().statement_timeout_ms().map(Duration::from_millis);
        let watch = tokio::spawn(watch(Arc::clone(&self.socket), cancel.clone(), timeout, Arc::clone(&timed_out)));
        RunningStatement { cancel, timed_out, watch }
    }
}

/// A statement that runs; dropping it ends the watch over its client.
pub struct RunningStatement {
    /// Stops it.
    pub cancel: CancelToken,
    timed_out: Arc<AtomicBool>,
    watch: JoinHandle<()>,
}

impl RunningStatement {
    /// The error as the client should see it: a cancellation by the clock says so.
    pub fn explain(&self, error: Error) -> Error {
        if error.kind == ErrorKind::Cancelled && self.timed_out.load(Ordering::Relaxed) {
            return Error::new(ErrorKind::Cancelled, "57014", "canceling statement due to statement timeout");
        }
        error
    }
}

impl Drop for RunningStatement {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Cancels when the client has closed its end or the time is over.
async fn watch(socket: Arc<TcpStream>, cancel: CancelToken, timeout: Option<Duration>, timed_out: Arc<AtomicBool>) {
    let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    loop {
        let pause = tokio::time::Instant::now() + CLIENT_CHECK;
        tokio::time::sleep_until(deadline.map_or(pause, |deadline| deadline.min(pause))).await;
        if deadline.is_some_and(|deadline| deadline <= tokio::time::Instant::now()) {
            timed_out.store(true, Ordering::Relaxed);
            cancel.cancel();
            return;
        }
        // Ready at once where there is unread data; else only an end makes it ready.
        let ready = tokio::time::timeout(Duration::ZERO, socket.ready(Interest::READABLE)).await;
        if matches!(ready, Ok(Ok(ready)) if ready.is_read_closed()) {
            cancel.cancel();
            return;
        }
    }
}
