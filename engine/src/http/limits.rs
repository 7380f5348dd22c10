//! Every bound of the HTTP surface, in one place.

use std::time::Duration;

/// What a connection may take and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Size of request line and header fields together; beyond it 431.
    pub head_bytes: usize,
    /// Number of header fields; beyond it 431. No more than 100.
    pub headers_max: usize,
    /// Length of the request target; beyond it 414.
    pub target_bytes: usize,
    /// From the first byte of a head to its last; beyond it 408.
    pub head_time: Duration,
    /// For a body, to which each [`ServerLimits::body_rate`] bytes received add a second; beyond it 408.
    pub body_time: Duration,
    /// Bytes a second that buy a slow body more time.
    pub body_rate: u64,
    /// For which a connection may say nothing between requests.
    pub idle_time: Duration,
    /// From the first byte of a request to the last of its answer, unless the answer is a stream.
    pub total_time: Duration,
    /// For which a reader may take nothing of what we write.
    pub write_time: Duration,
    /// For which we go on swallowing what a refused client sends, so that it can read the answer.
    pub linger_time: Duration,
    /// How much of it we swallow.
    pub linger_bytes: usize,
    /// Bytes that all bodies and answers under way may hold together; beyond it 503.
    pub held_bytes: usize,
    /// Open connections; beyond it the one that has come least far is closed.
    pub connections_max: usize,
    /// Open connections of one address (of one /64 for IPv6) while there are few; beyond it closed
    /// at accept.
    pub connections_per_ip: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            head_bytes: 16 * 1024,
            headers_max: 100,
            target_bytes: 8 * 1024,
            head_time: Duration::from_secs(5),
            body_time: Duration::from_secs(15),
            body_rate: 1024,
            idle_time: Duration::from_secs(30),
            total_time: Duration::from_secs(60),
            write_time: Duration::from_secs(30),
            linger_time: Duration::from_secs(2),
            linger_bytes: 1024 * 1024,
            held_bytes: 32 * 1024 * 1024,
            connections_max: 512,
            // Fifty stream clients may come through one proxy on this machine.
            connections_per_ip: 128,
        }
    }
}
