//! CancelRequest: a second connection asks to stop the query of a first one, whose secret it knows.
//!
//! Position: shared by all connections of a server; each registers when it has logged in.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use pgwire::{
    api::cancel::CancelHandler,
    messages::{cancel::CancelRequest, startup::SecretKey},
};

use super::connection::Connection;

/// Connections by process id and secret.
#[derive(Default)]
pub struct Cancellations {
    connections: Mutex<HashMap<i32, (SecretKey, Weak<Connection>)>>,
}

impl Cancellations {
    /// Makes a connection reachable under what it was told at login.
    pub fn register(&self, pid: i32, secret: SecretKey, connection: &Arc<Connection>) {
        self.connections.lock().insert(pid, (secret, Arc::downgrade(connection)));
    }

    /// Forgets a connection that has ended.
    pub fn forget(&self, pid: i32) {
        self.connections.lock().remove(&pid);
    }

    /// Stops the running query of every connection.
    pub fn cancel_all(&self) {
        let connections: Vec<_> = self.connections.lock().values().filter_map(|(_, c)| c.upgrade()).collect();
        connections.iter().for_each(|connection| connection.cancel());
    }
}

#[async_trait]
impl CancelHandler for Cancellations {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let found = self.connections.lock().get(&request.pid).cloned();
        if let Some((secret, connection)) = found
            && same_secret(&secret, &request.secret_key)
            && let Some(connection) = connection.upgrade()
        {
            connection.cancel();
        }
    }
}

/// Compares in a time that does not depend on where they differ.
fn same_secret(left: &SecretKey, right: &SecretKey) -> bool {
    let bytes = |key: &SecretKey| match key {
        SecretKey::I32(value) => value.to_be_bytes().to_vec(),
        SecretKey::Bytes(bytes) => bytes.to_vec(),
    };
    let (left, right) = (bytes(left), bytes(right));
    left.len() == right.len() && left.iter().zip(&right).fold(0, |differs, (l, r)| differs | (l ^ r)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_in_full() {
        assert!(same_secret(&SecretKey::I32(7), &SecretKey::I32(7)));
        assert!(!same_secret(&SecretKey::I32(7), &SecretKey::I32(8)));
        assert!(!same_secret(&SecretKey::I32(0), &SecretKey::Bytes(vec![0; 5].into())));
    }
}
