//! A TCP proxy before the server that loses answers: it reads one whole and closes the client's
//! connection without a byte of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

#[derive(Default)]
struct State {
    cutting: bool,
    lost: Vec<Value>,
}

pub(crate) struct Losing {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Losing {
    pub(crate) fn before(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for down in listener.incoming().flatten() {
                let Ok(up) = TcpStream::connect(upstream) else { return };
                let (Ok(from), Ok(to)) = (down.try_clone(), up.try_clone()) else { return };
                let state = shared.clone();
                thread::spawn(move || carry(from, to));
                thread::spawn(move || answer(up, down, &state));
            }
        });
        Ok(Self { address, state })
    }

    /// Loses the next answer.
    pub(crate) fn cut(&self) {
        self.state.lock().unwrap().cutting = true;
    }

    /// What was lost.
    pub(crate) fn lost(&self) -> Vec<Value> {
        self.state.lock().unwrap().lost.clone()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    // An error is the end of either side, which ends the other.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn answer(mut up: TcpStream, mut down: TcpStream, state: &Mutex<State>) {
    let (mut bytes, mut answer) = ([0; 65536], Vec::new());
    while let Ok(length) = up.read(&mut bytes) {
        let mut state = state.lock().unwrap();
        if length == 0 {
            break;
        } else if !state.cutting {
            if down.write_all(&bytes[..length]).is_err() {
                break;
            }
        } else {
            answer.extend_from_slice(&bytes[..length]);
            if let Some(body) = whole(&answer) {
                state.cutting = false;
                state.lost.push(body);
                break;
            }
        }
    }
    let _ = down.shutdown(Shutdown::Both);
    let _ = up.shutdown(Shutdown::Both);
}

/// The body of an answer once all of it is there.
fn whole(answer: &[u8]) -> Option<Value> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map(|(_, value)| value.trim().parse()).next()?.ok()?;
    (body.len() == length).then(|| serde_json::from_str(body).expect("answers are JSON"))
}
