//! The whole handshake: two engines in this process, datagrams handed over, a kernel that says yes.

use std::net::SocketAddr;
use std::sync::Arc;

use oakd::conf::{self, Config, MemoryFiles, NumericNames};
use oakd::crypto::{IkeSuite, Secret, SystemRandom, psk_auth, psk_verify};
use oakd::ike::auth::{Answer, Question};
use oakd::ike::event::{
    Capabilities, Direction, Input, KernelAnswer, KernelRequest, Output, SaCounters, Time,
};
use oakd::ike::{Engine, Settings};
use oakd::wire::EspSpi;
use oakd::wire::iana::v2::{EncryptionId as Encr, IntegrityId as Integ};

use crate::time::{head, in_turn, row};
use crate::{heap, raw};

const PSK: &[u8] = b"a shared key of some length";
const INITIATOR: &str = "192.0.2.1:500";
const RESPONDER: &str = "192.0.2.2:500";
/// How many pairs of SAs are held to measure one.
const PAIRS: usize = 500;

/// The table of whole handshakes beside the raw cost, measured in turn.
pub fn handshakes() {
    head("whole handshake, both roles, us", &["whole", "raw", "ratio"]);
    for suite in raw::suites() {
        let configs = Configs::new(&suite, "active");
        let (whole, raw) = in_turn(|| Pair::established(&configs), || raw::handshake(&suite));
        row(&raw::name(&suite), &[Some(whole), Some(raw), Some(whole / raw)]);
    }
}

/// What an established IKE SA with one child costs in memory.
pub fn memory() {
    head(
        "heap of an IKE SA and its child, octets of one role",
        &["established", "no SA", "the SAs"],
    );
    let suite = raw::suites().swap_remove(0);
    let per_engine = |start| {
        let configs = Configs::new(&suite, start);
        // Whatever is made once (tables, caches) is not an SA's.
        drop(Pair::run(&configs));
        let before = heap::live();
        let pairs: Vec<Pair> = (0..PAIRS).map(|_| Pair::run(&configs)).collect();
        let octets = (heap::live() - before) as f64 / (2 * PAIRS) as f64;
        let up = pairs.iter().filter(|pair| pair.is_up()).count();
        assert_eq!(up, if start == "active" { PAIRS } else { 0 });
        octets
    };
    let (established, idle) = (per_engine("active"), per_engine("passive"));
    row(&raw::name(&suite), &[Some(established), Some(idle), Some(established - idle)]);
}

struct Configs {
    initiator: Arc<Config>,
    responder: Arc<Config>,
}

impl Configs {
    fn new(suite: &IkeSuite, start: &str) -> Self {
        let (id, bits) = suite.encryption;
        let auth = suite.integrity.and_then(|id| id.keyword(None));
        let auth = auth.map_or(String::new(), |word| format!("auth {word} "));
        let ikesa = format!(
            "{auth}enc {} prf {} group {}",
            id.keyword(bits).unwrap(),
            suite.prf.keyword(None).unwrap(),
            suite.group.keyword(None).unwrap(),
        );
        let config = |start: &str, nets: [&str; 2], ends: [&str; 2]| {
            let text = format!(
                "ikev2 \"bench\" {start} esp from {} to {} local {} peer {} \
                 ikesa {ikesa} childsa enc aes-256-gcm psk \"{}\"\n",
                nets[0],
                nets[1],
                ends[0],
                ends[1],
                String::from_utf8_lossy(PSK),
            );
            let files = MemoryFiles::default().with("bench.conf", text);
            match conf::load("bench.conf", &[], &files, &NumericNames) {
                Ok(checked) => Arc::new(checked.config),
                Err(diagnostics) => panic!("{diagnostics:?}"),
            }
        };
        let (nets, ends) = (["10.1.0.0/16", "10.2.0.0/16"], ["192.0.2.1", "192.0.2.2"]);
        Self {
            initiator: config(start, nets, ends),
            responder: config("passive", [nets[1], nets[0]], [ends[1], ends[0]]),
        }
    }
}

/// An initiator and a responder.
struct Pair {
    initiator: Side,
    responder: Side,
}

impl Pair {
    /// A pair whose child SAs are up; without them a time would mean nothing.
    fn established(configs: &Configs) -> Self {
        let pair = Self::run(configs);
        if !pair.is_up() {
            Self::new(configs, true).exchange();
            panic!("no child SA came up");
        }
        pair
    }

    fn run(configs: &Configs) -> Self {
        Self::new(configs, false).exchange()
    }

    fn new(configs: &Configs, tell: bool) -> Self {
        Self {
            initiator: Side::new(&configs.initiator, INITIATOR, tell),
            responder: Side::new(&configs.responder, RESPONDER, tell),
        }
    }

    /// Hands datagrams over until there are none.
    fn exchange(self) -> Self {
        let mut pair = self;
        let mut sent = Vec::new();
        loop {
            pair.initiator.work(&mut sent);
            let to_responder = std::mem::take(&mut sent);
            pair.responder.take(&to_responder);
            pair.responder.work(&mut sent);
            let to_initiator = std::mem::take(&mut sent);
            pair.initiator.take(&to_initiator);
            if to_responder.is_empty() && to_initiator.is_empty() {
                return pair;
            }
        }
    }

    fn is_up(&self) -> bool {
        self.initiator.is_up() && self.responder.is_up()
    }
}

/// An engine with its kernel and the holder of its secrets.
struct Side {
    engine: Engine,
    address: SocketAddr,
    next_spi: u32,
    /// SAs that the kernel was given: inbound, outbound.
    sas: [u32; 2],
    /// Whether reports are printed.
    tell: bool,
}

impl Side {
    fn new(config: &Arc<Config>, address: &str, tell: bool) -> Self {
        let mut engine = Engine::new(Box::new(SystemRandom), Settings::default());
        let now = Time::default();
        engine.handle(now, Input::Capabilities(capabilities()));
        engine.handle(now, Input::Configure(config.clone()));
        Self { engine, address: address.parse().unwrap(), next_spi: 0x1000, sas: [0; 2], tell }
    }

    fn is_up(&self) -> bool {
        self.sas == [1, 1]
    }

    fn take(&mut self, datagrams: &[(SocketAddr, Vec<u8>)]) {
        for (remote, octets) in datagrams {
            let local = self.address;
            self.engine.handle(Time::default(), Input::Datagram { local, remote: *remote, octets });
        }
    }

    /// Does what the engine says until it says no more; what it sends is added to `sent`.
    fn work(&mut self, sent: &mut Vec<(SocketAddr, Vec<u8>)>) {
        while let Some(output) = self.engine.poll() {
            let answer = match output {
                Output::Datagram { local, octets, .. } => {
                    sent.push((local, octets));
                    continue;
                }
                Output::Kernel(id, request) => Input::Kernel(id, self.kernel(&request)),
                Output::Question(id, question) => Input::Answer(id, answer(&question)),
                Output::Report(report) => {
                    if self.tell {
                        eprintln!("{}: {report}", self.address);
                    }
                    continue;
                }
                Output::Keepalive { .. } | Output::Finished => continue,
            };
            self.engine.handle(Time::default(), answer);
        }
    }

    fn kernel(&mut self, request: &KernelRequest) -> KernelAnswer {
        match request {
            KernelRequest::GetSpi { .. } => {
                self.next_spi += 1;
                KernelAnswer::Spi(EspSpi(self.next_spi))
            }
            KernelRequest::AddSa(sa) => {
                self.sas[usize::from(sa.direction == Direction::Out)] += 1;
                KernelAnswer::Done
            }
            KernelRequest::QuerySa(_) => KernelAnswer::Counters(SaCounters::default()),
            _ => KernelAnswer::Done,
        }
    }
}

fn answer(question: &Question) -> Answer {
    let psk = Secret::from(PSK);
    match question {
        Question::SharedKeySign { prf, octets, .. } => {
            Answer::Signed(psk_auth(*prf, &psk, octets).unwrap())
        }
        Question::SharedKeyVerify { prf, octets, auth, .. } => {
            match psk_verify(*prf, &psk, octets, auth).unwrap() {
                true => Answer::Verified,
                false => Answer::Wrong,
            }
        }
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        encryption: vec![
            (Encr::ENCR_AES_GCM_16, vec![128, 192, 256]),
            (Encr::ENCR_AES_CBC, vec![128, 192, 256]),
        ],
        integrity: vec![Integ::AUTH_HMAC_SHA2_256_128],
        esn: true,
        remarks: Vec::new(),
    }
}
