//! Just enough of HTTP/1.1 for clients that must know what was sent and what came back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, member: &str) -> Option<String> {
        Some(self.body[member].as_str()?.to_owned())
    }
}

/// One keep-alive connection, opened when it is needed.
pub struct Wire {
    address: SocketAddr,
    open: Option<TcpStream>,
}

impl Wire {
    pub fn to(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// An error says nothing about whether the request took effect.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        let asked = self.send(request).and_then(|()| self.read());
        if asked.is_err() {
            self.open = None;
        }
        asked
    }

    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        if self.open.is_none() {
            let open = TcpStream::connect_timeout(&self.address, Duration::from_secs(10))?;
            open.set_read_timeout(Some(Duration::from_secs(40)))?;
            open.set_nodelay(true)?;
            self.open = Some(open);
        }
        self.open.as_mut().unwrap().write_all(request)
    }

    /// Reads one answer, whose end is told by its `Content-Length`.
    pub fn read(&mut self) -> io::Result<Answer> {
        let stream = self.open.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            if let Some((head, body)) = split(&bytes) {
                let length = header(head, "content-length").and_then(|n| n.parse().ok());
                if length.unwrap_or(0) <= body.len() {
                    let status = head.get(9..12).and_then(|word| word.parse().ok()).unwrap_or(0);
                    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                    if header(head, "connection").is_some_and(|word| word.contains("close")) {
                        self.open = None;
                    }
                    return Ok(Answer { status, body });
                }
            }
            match stream.read(&mut part) {
                // A socket with a timeout is not read on after a signal, that of a child that ended, say.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes.extend_from_slice(&part[..count]),
            }
        }
    }
}

/// What is served at `path`, to anybody.
pub fn text(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: ledger\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

pub fn basic(id: &str, secret: &str) -> String {
    let pair = format!("{id}:{secret}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

pub fn request(method: &str, path: &str, authorization: &str, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: ledger\r\nAuthorization: {authorization}\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn form(path: &str, authorization: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    request("POST", path, authorization, "application/x-www-form-urlencoded", &body)
}

pub fn json(path: &str, bearer: &str, body: &Value) -> Vec<u8> {
    request("POST", path, &format!("Bearer {bearer}"), "application/json", &body.to_string())
}

pub fn get(path: &str, bearer: &str) -> Vec<u8> {
    request("GET", path, &format!("Bearer {bearer}"), "text/plain", "")
}
