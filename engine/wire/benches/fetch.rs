//! What a POST to a service near by costs: requests a second and CPU time of this process for
//! each, at several numbers of calls side by side, over connections that are kept.
//!
//! The service is a second process. `cargo bench -p stages --bench fetch` runs it.
#![expect(clippy::print_stdout, reason = "the figures are its result")]

use kernel::env::Env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wire::{Fetch, FetchRequest, Wire};

/// Requests of each row.
const REQUESTS: usize = 30_000;
/// Calls side by side.
const CONCURRENCY: [usize; 3] = [1, 8, 64];
/// About an event as JSON.
const BODY: usize = 400;

fn main() {
    if std::env::args().any(|arg| arg == "serve") {
        return serve();
    }
    let program = std::env::current_exe().expect("the path of this program");
    let mut service = Command::new(program);
    let mut service = service.arg("serve").stdout(Stdio::piped()).spawn().expect("it starts");
    let mut address = String::new();
    let output = service.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut address).expect("its address");
    let url = format!("http://{}/hook", address.trim());
    for concurrency in CONCURRENCY {
        measure(&url, concurrency, REQUESTS / 10);
        let (spent, cpu) = measure(&url, concurrency, REQUESTS);
        println!(
            "{concurrency:>3} side by side: {:>7.0} requests/s, {:>5.1} µs CPU each",
            REQUESTS as f64 / spent.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / REQUESTS as f64,
        );
    }
    service.kill().and_then(|()| service.wait()).expect("it ends");
}

fn measure(url: &str, concurrency: usize, requests: usize) -> (Duration, Duration) {
    let wire = Arc::new(Wire::new(&Env::system()));
    let left = Arc::new(AtomicUsize::new(requests));
    let executor = Arc::new(smol::Executor::new());
    let (stop, end) = async_channel::bounded::<()>(1);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (executor, end) = (executor.clone(), end.clone());
            std::thread::spawn(move || smol::block_on(executor.run(end.recv())).ok())
        })
        .collect();
    #[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
    let (began, cpu) = (Instant::now(), cpu_time());
    let calls: Vec<_> = (0..concurrency)
        .map(|_| executor.spawn(call(wire.clone(), url.to_owned(), left.clone())))
        .collect();
    smol::block_on(async {
        for call in calls {
            call.await;
        }
    });
    let spent = (began.elapsed(), cpu_time() - cpu);
    drop(stop);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    spent
}

async fn call(wire: Arc<Wire>, url: String, left: Arc<AtomicUsize>) {
    let one_less = |number: usize| number.checked_sub(1);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
        let request = FetchRequest {
            method: "POST",
            url: url.clone(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Some(vec![b'x'; BODY]),
            timeout: Duration::from_secs(10),
            body_max: 1 << 20,
        };
        let answer = wire.fetch(request).await.expect("an answer");
        assert_eq!(answer.status, 200);
    }
}

/// User and system time of this process; ticks of ten milliseconds.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(") ").next().expect("fields after the name");
    let ticks =
        fields.split(' ').skip(11).take(2).map(|part| part.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    for stream in listener.incoming() {
        std::thread::spawn(move || talk(stream.expect("a client")));
    }
}

/// Takes requests of one size and answers each.
fn talk(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = [0; 4096];
    let mut length = 0;
    loop {
        length += stream.read(&mut buffer[length..]).ok().filter(|it| 0 < *it)?;
        let head = buffer[..length].windows(4).position(|pair| pair == b"\r\n\r\n");
        if head.is_some_and(|head| head + 4 + BODY <= length) {
            length = 0;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok()?;
        }
    }
}
