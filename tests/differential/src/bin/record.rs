//! A proxy on the loopback that writes down what passes between clients and a broker.
//!
//!     record LISTEN BROKER FILE
//!
//! Clients connect to LISTEN, which the broker at BROKER has to advertise, or they would go around it. Prints `ready` when clients may
//! come, and runs until it is stopped. Addresses are host:port.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use differential::frame;
use differential::recording::Recorder;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, broker, file] = &arguments[..] else { bail!("usage: record LISTEN BROKER FILE") };
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    let recorder = Arc::new(Recorder::create(Path::new(file)).with_context(|| format!("create {file}"))?);
    writeln!(io::stdout(), "ready")?;
    for (connection, client) in (0..).zip(listener.incoming()) {
        let client = client.context("accept a client")?;
        let broker = TcpStream::connect(broker).with_context(|| format!("connect to {broker}"))?;
        for stream in [&client, &broker] {
            stream.set_nodelay(true)?;
        }
        let requests = (client.try_clone()?, broker.try_clone()?, recorder.clone());
        let answers = (broker, client, recorder.clone());
        thread::spawn(move || pass(requests, |recorder, frame| recorder.request(connection, frame)));
        thread::spawn(move || pass(answers, |recorder, frame| recorder.answer(connection, frame)));
    }
    Ok(())
}

/// Passes frames on until either side ends; the other side is then told, so that the frames on the way back still come through.
fn pass((mut from, mut to, recorder): (TcpStream, TcpStream, Arc<Recorder>), record: impl Fn(&Recorder, &Bytes) -> io::Result<()>) {
    let mut all = || -> io::Result<()> {
        while let Some(frame) = frame::read_frame(&mut from)? {
            record(&recorder, &frame)?;
            frame::write_frame(&mut to, &frame)?;
        }
        Ok(())
    };
    if let Err(error) = all() {
        eprintln!("record: {error}");
    }
    // Whoever is gone need not be told.
    let _ = to.shutdown(Shutdown::Write);
}
