//! A TCP relay between a client and the gate that keeps what the gate sent, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Most bytes kept of all connections together; a session that sends more fails its test.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the gate sent, one buffer a connection, so that no word is cut by another connection's bytes.
type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

/// A running relay. It stops with the value.
pub(crate) struct Relay {
    /// Where the client connects.
    pub(crate) address: SocketAddr,
    recorded: Recorded,
    accepting: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(gate: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorded = Recorded::default();
        let kept = Arc::clone(&recorded);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, gate, Arc::clone(&kept)));
            }
        });
        Self {
            address,
            recorded,
            accepting,
        }
    }

    /// The words of `forbidden` that the gate sent, whatever their case, each with what stands around it.
    pub(crate) fn seen(&self, forbidden: &[&str]) -> Vec<String> {
        let recorded = self.recorded.lock().unwrap();
        let total: usize = recorded.iter().map(Vec::len).sum();
        assert!(total > 0, "nothing went through the relay");
        assert!(total < BYTES_MAX, "too much to keep went through the relay");
        let mut seen = Vec::new();
        for bytes in recorded.iter() {
            let lower = bytes.to_ascii_lowercase();
            for word in forbidden {
                let found = lower
                    .windows(word.len())
                    .position(|window| window == word.as_bytes());
                if let Some(at) = found {
                    let around = at.saturating_sub(60)..lower.len().min(at + 60);
                    let around = String::from_utf8_lossy(&bytes[around]).into_owned();
                    seen.push(format!("{word}: {around:?}"));
                }
            }
        }
        seen
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connection(client: TcpStream, gate: SocketAddr, recorded: Recorded) {
    let Ok(gate) = TcpStream::connect(gate).await else {
        return;
    };
    client.set_nodelay(true).ok();
    gate.set_nodelay(true).ok();
    let number = {
        let mut recorded = recorded.lock().unwrap();
        recorded.push(Vec::new());
        recorded.len() - 1
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_gate, mut to_gate) = gate.into_split();
    let there = async move {
        tokio::io::copy(&mut from_client, &mut to_gate).await.ok();
        to_gate.shutdown().await.ok();
    };
    let back = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_gate.read(&mut buffer).await {
            {
                let mut recorded = recorded.lock().unwrap();
                if recorded[number].len() < BYTES_MAX {
                    recorded[number].extend_from_slice(&buffer[..count]);
                }
            }
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        to_client.shutdown().await.ok();
    };
    tokio::join!(there, back);
}
