//! Answers requests over HTTP with its process id, on a TCP socket and a Unix socket that it takes with the
//! crate listenfd. It serves one client of the first, then one of the second, and ends.

use listenfd::ListenFd;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};

fn answer(mut stream: impl Read + Write) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(&mut stream).lines();
    while !lines.next().ok_or("a client sends no request")??.is_empty() {}
    drop(lines);
    let id = std::process::id();
    Ok(write!(stream, "HTTP/1.0 200 OK\r\n\r\n{id}\n")?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() != 2 {
        return Err(format!("{} sockets, not 2", sockets.len()).into());
    }
    let tcp = sockets.take_tcp_listener(0)?.ok_or("no TCP socket")?;
    let unix = sockets.take_unix_listener(1)?.ok_or("no Unix socket")?;
    answer(tcp.accept()?.0)?;
    answer(unix.accept()?.0)
}
