//! How many signatures the `ca` workers make, one of them and two.
//!
//! `cargo bench --bench workers` starts them as the parent does, hands them a key, and plays `ike`: there
//! are always more questions than they have in hand. "Raw" is the library's signature alone, in this
//! process. Only root can start them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../util/certs.rs"]
mod certs;

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use certs::{Holder, name, own_files};
use mio::Token;
use oakd::crypto::signature;
use oakd::ike::auth::{Answer, Manner, Question, QuestionId, Request, Sign, Wish};
use oakd::ike::table::SaId;
use oakd::pki::Options;
use oakd::pki::authority::NewKey;
use oakd::proc::Role;
use oakd::proc::board::Board;
use oakd::proc::imsg::{self, Link};
use oakd::proc::message::{AskCa, CaTells, Down, Up};
use oakd::proc::poll::Loop;
use oakd::proc::reader::{self, Handed};
use oakd::wire::IkeSpi;
use oakd::wire::iana::v2::IdType;

/// How long each is measured.
const TIME: Duration = Duration::from_secs(2);
/// How many questions wait.
const WAITING: u64 = 64;
const HOST: &str = "gw.example";

/// A worker and the links to it.
struct Worker {
    process: Child,
    parent: Link<Down, Up>,
    link: Link<AskCa, CaTells>,
}

impl Worker {
    fn start(number: u8, holder: &Holder, root: &Holder) -> Self {
        let (ours, theirs) = imsg::pair().unwrap();
        let empty = std::env::temp_dir().join("oakd-bench-empty");
        std::fs::create_dir_all(&empty).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_oakd"))
            .args(["-P", Role::Ca(number).name(), "-u", "nobody", "-c"])
            .arg(&empty)
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        let mut parent: Link<Down, Up> = Link::new(ours).unwrap();
        let mut hand = |message: Down| -> OwnedFd {
            let (one, other) = imsg::pair().unwrap();
            parent.send_with(&message, other).unwrap();
            one
        };
        let mut way: Link<Handed, ()> = Link::new(hand(Down::Secrets)).unwrap();
        let link = Link::new(hand(Down::Peer(Role::Ike))).unwrap();
        way.send(&Handed::Options(Options::default())).unwrap();
        for file in own_files(holder, &[root]) {
            way.send(&Handed::File(file)).unwrap();
        }
        way.send(&Handed::End).unwrap();
        while !matches!(reader::next(&mut parent).unwrap().0, Up::SecretsHeld) {}
        Self { process, parent, link }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = &self.parent;
    }
}

fn question() -> Question {
    Question::Sign(Box::new(Sign {
        identity: name(IdType::ID_FQDN, HOST),
        octets: vec![7; 600],
        manner: Manner::V2 { wish: Wish::Any, hashes: Some(signature::HASHES.to_vec()) },
        requests: vec![Request::Any],
    }))
}

/// Signatures a second that so many workers make.
fn measure(count: u8, holder: &Holder, root: &Holder) -> f64 {
    let mut workers: Vec<Worker> =
        (0..count).map(|number| Worker::start(number, holder, root)).collect();
    let (mut board, mut events) = (Board::default(), Loop::new().unwrap());
    for (number, worker) in (0..).zip(&workers) {
        events.watch(&worker.link, Token(usize::from(number))).unwrap();
        board.come(number);
    }
    let (mut asked, mut answered) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < TIME {
        while asked < answered + WAITING {
            // Each is of another IKE SA.
            let sa = SaId(IkeSpi(asked.to_be_bytes()));
            board.add(QuestionId(asked), sa, question(), 1);
            asked += 1;
        }
        while let Some((number, id, question)) = board.next(|_| true) {
            workers[usize::from(number)].link.send(&(id, question.clone())).unwrap();
        }
        for token in events.turn(Some(start + TIME)).unwrap() {
            let worker = &mut workers[token.0];
            worker.link.flush().unwrap();
            while let Some((told, _)) = worker.link.recv().unwrap() {
                let CaTells::Answer(id, answer) = told else { continue };
                assert!(matches!(answer, Answer::Signature(_)), "{answer:?}");
                assert!(board.answered(u8::try_from(token.0).unwrap(), id));
                answered += 1;
            }
        }
    }
    answered as f64 / start.elapsed().as_secs_f64()
}

/// What one core could do if there were nothing but the signature.
fn raw(holder: &Holder) -> f64 {
    let kind = signature::KeyKind::of(&holder.key).unwrap();
    let scheme = signature::choose(kind, signature::HASHES).unwrap();
    let (start, mut made) = (Instant::now(), 0);
    while start.elapsed() < TIME / 2 {
        signature::sign(&holder.key, scheme, &[7; 600]).unwrap();
        made += 1;
    }
    f64::from(made) / start.elapsed().as_secs_f64()
}

fn main() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can start the workers");
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("signatures a second by the ca workers, on {cores} cores:");
    println!("{:<12}{:>10}{:>12}{:>12}{:>8}", "key", "raw", "1 worker", "2 workers", "gain");
    let root = Holder::root("Root", NewKey::P256);
    for (words, kind) in [("RSA-4096", NewKey::Rsa(4096)), ("ECDSA P-256", NewKey::P256)] {
        let holder = root.host(HOST, kind);
        let [one, two] = [1, 2].map(|count| measure(count, &holder, &root));
        let gain = two / one;
        println!("{words:<12}{:>10.0}{one:>12.0}{two:>12.0}{gain:>7.2}x", raw(&holder));
    }
}
