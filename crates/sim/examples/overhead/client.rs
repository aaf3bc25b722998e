//! One keep-alive connection, blocking. It reads as much of HTTP/1.1 as is needed to know where an answer ends.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A connection to a target.
pub struct Connection {
    address: String,
    socket: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Default)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Nanoseconds each stamped chunk was under way.
    pub under_way: Vec<u64>,
}

impl Connection {
    /// A connection made at the first request.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            socket: None,
            buffer: vec![0; 64 << 10],
        }
    }

    /// Sends a request and reads its answer; of no more than `leave_after` bytes, where the client is to leave early.
    pub fn ask(&mut self, request: &[u8], leave_after: Option<usize>) -> Result<Answered> {
        let answered = self.try_ask(request, leave_after);
        if answered.is_err() || leave_after.is_some() {
            self.socket = None;
        }
        answered
    }

    fn try_ask(&mut self, request: &[u8], leave_after: Option<usize>) -> Result<Answered> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = TcpStream::connect(&self.address)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(Duration::from_secs(30)))?;
                none.insert(socket)
            }
        };
        socket.write_all(request)?;
        let mut answered = Answered::default();
        let (mut all, mut body_at, mut length, mut stamped) = (Vec::new(), None, None, 0);
        loop {
            let n = socket.read(&mut self.buffer)?;
            if n == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed in an answer"));
            }
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos();
            all.extend_from_slice(&self.buffer[..n]);
            if leave_after.is_some_and(|most| all.len() >= most) {
                return Ok(answered);
            }
            if body_at.is_none()
                && let Some(end) = all.windows(4).position(|bytes| bytes == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
                let status = head
                    .split(' ')
                    .nth(1)
                    .and_then(|status| status.parse().ok());
                answered.status = status.unwrap_or(0);
                length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:"))
                    .and_then(|length| length.trim().parse::<usize>().ok());
                body_at = Some(end + 4);
                stamped = end + 4;
            }
            let Some(body_at) = body_at else { continue };
            stamps(&all, &mut stamped, now, &mut answered.under_way);
            let whole = match length {
                Some(length) => all.len() >= body_at + length,
                None => all[body_at..].ends_with(b"0\r\n\r\n"),
            };
            if whole {
                return Ok(answered);
            }
        }
    }
}

/// Reads the stamps `t=NANOSECONDS;` from `from` on, and moves it behind the last.
fn stamps(all: &[u8], from: &mut usize, now: u128, under_way: &mut Vec<u64>) {
    while let Some(at) = all[*from..].windows(2).position(|bytes| bytes == b"t=") {
        let number = *from + at + 2;
        let Some(length) = all[number..].iter().position(|b| !b.is_ascii_digit()) else {
            // Its end is not here yet.
            *from += at;
            return;
        };
        let digits = std::str::from_utf8(&all[number..number + length]).unwrap_or("");
        if let Ok(left) = digits.parse::<u128>() {
            let nanoseconds = now.saturating_sub(left);
            under_way.push(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        }
        *from = number + length;
    }
    *from = (*from).max(all.len().saturating_sub(1));
}
