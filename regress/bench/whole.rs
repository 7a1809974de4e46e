//! The whole handshake: two engines in this process, datagrams handed over, a kernel that says yes.

use std::net::SocketAddr;
use std::sync::Arc;

use oakd::conf::{self, Config, MemoryFiles, NumericNames};
use oakd::crypto::{IkeSuite, Secret, SystemRandom, psk_auth, psk_skeyid, psk_verify};
use oakd::ike::auth::{Answer, Question};
use oakd::ike::event::{
    Capabilities, Direction, Input, KernelAnswer, KernelRequest, Output, SaCounters, Selects, Time,
};
use oakd::ike::{Engine, Settings};
use oakd::wire::EspSpi;
use oakd::wire::iana::v2::{EncryptionId as Encr, IntegrityId as Integ};

use crate::time::{head, in_turn, row};
use crate::{heap, raw};

const PSK: &[u8] = b"a shared key of some length";
/// How many pairs of SAs are held to measure one.
const PAIRS: usize = 1000;

/// The table of whole handshakes beside the raw cost, measured in turn.
pub fn handshakes() {
    head("whole handshake, both roles, us, best of many", &["whole", "raw", "ratio"]);
    for suite in raw::suites() {
        let configs = Configs::new(&suite, "active");
        let (whole, raw) = in_turn(|| Pair::established(&configs), || raw::handshake(&suite));
        row(&raw::name(&suite), &[Some(whole), Some(raw), Some(whole / raw)]);
    }
}

/// What an established IKE SA with one child costs in memory, both roles added up.
///
/// Two engines hold all of them, as a gateway does: an engine's own tables are shared out among its SAs.
pub fn memory() {
    head(
        "heap of an IKE SA and its child, octets, both roles",
        &["established", "no SA", "the SAs"],
    );
    heap::count();
    let suite = raw::suites().swap_remove(0);
    let per_pair = |start| {
        let configs = Configs::many(&suite, start, PAIRS);
        // Whatever is made once (tables, caches) is not an SA's.
        drop(Pair::run(&configs));
        let before = heap::live();
        let pair = Pair::run(&configs);
        let octets = (heap::live() - before) as f64 / PAIRS as f64;
        let up = if start == "active" { PAIRS } else { 0 };
        assert_eq!((pair.initiator.sas, pair.responder.sas), ([up; 2], [up; 2]));
        octets
    };
    let (established, idle) = (per_pair("active"), per_pair("passive"));
    row(&raw::name(&suite), &[Some(established), Some(idle), Some(established - idle)]);
}

struct Configs {
    initiator: Arc<Config>,
    responder: Arc<Config>,
}

impl Configs {
    fn new(suite: &IkeSuite, start: &str) -> Self {
        Self::many(suite, start, 1)
    }

    /// So many tunnels, each to a peer of its own.
    fn many(suite: &IkeSuite, start: &str, count: usize) -> Self {
        let (id, bits) = suite.encryption;
        let auth = suite.integrity.and_then(|id| id.keyword(None));
        let auth = auth.map_or(String::new(), |word| format!("auth {word} "));
        let ikesa = format!(
            "{auth}enc {} prf {} group {}",
            id.keyword(bits).unwrap(),
            suite.prf.keyword(None).unwrap(),
            suite.group.keyword(None).unwrap(),
        );
        let rule = |start: &str, number: usize, far: bool| {
            let outer = |side: u8| format!("10.{side}.{}.{}", number / 256, number % 256);
            let inner =
                |side: u8| format!("172.{}.{}.{}/32", 16 + side, number / 256, number % 256);
            let (near, other) = if far { (2, 1) } else { (1, 2) };
            format!(
                "ikev2 \"bench{number}\" {start} esp from {} to {} local {} peer {} \
                 ikesa {ikesa} childsa enc aes-256-gcm psk \"{}\"\n",
                inner(near),
                inner(other),
                outer(near),
                outer(other),
                String::from_utf8_lossy(PSK),
            )
        };
        let config = |start: &str, far: bool| {
            let text: String = (0..count).map(|number| rule(start, number, far)).collect();
            let files = MemoryFiles::default().with("bench.conf", text);
            match conf::load("bench.conf", &[], &files, &NumericNames) {
                Ok(checked) => Arc::new(checked.config),
                Err(diagnostics) => panic!("{diagnostics:?}"),
            }
        };
        Self { initiator: config(start, false), responder: config("passive", true) }
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
            initiator: Side::new(&configs.initiator, "initiator", tell),
            responder: Side::new(&configs.responder, "responder", tell),
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

/// A datagram on its way.
struct Sent {
    from: SocketAddr,
    to: SocketAddr,
    octets: Vec<u8>,
}

/// An engine with its kernel and the holder of its secrets.
struct Side {
    engine: Engine,
    name: &'static str,
    next_spi: u32,
    /// SAs that the kernel was given: inbound, outbound.
    sas: [usize; 2],
    /// Whether reports are printed.
    tell: bool,
}

impl Side {
    fn new(config: &Arc<Config>, name: &'static str, tell: bool) -> Self {
        let mut engine = Engine::new(Box::new(SystemRandom), Settings::default());
        let now = Time::default();
        engine.handle(now, Input::Capabilities(capabilities()));
        engine.handle(now, Input::Configure(config.clone()));
        Self { engine, name, next_spi: 0x1000, sas: [0; 2], tell }
    }

    fn is_up(&self) -> bool {
        self.sas == [1, 1]
    }

    fn take(&mut self, datagrams: &[Sent]) {
        for Sent { from, to, octets } in datagrams {
            let (local, remote) = (*to, *from);
            self.engine.handle(Time::default(), Input::Datagram { local, remote, octets });
        }
    }

    /// Does what the engine says until it says no more; what it sends is added to `sent`.
    fn work(&mut self, sent: &mut Vec<Sent>) {
        while let Some(output) = self.engine.poll() {
            let answer = match output {
                Output::Datagram { local, remote, octets } => {
                    sent.push(Sent { from: local, to: remote, octets });
                    continue;
                }
                Output::Kernel(id, request) => Input::Kernel(id, self.kernel(&request)),
                Output::Question(id, question) => Input::Answer(id, answer(&question)),
                Output::Report(report) => {
                    if self.tell {
                        eprintln!("{}: {report}", self.name);
                    }
                    continue;
                }
                Output::Keepalive { .. }
                | Output::Host(_)
                | Output::Lease(_)
                | Output::Finished => continue,
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
        Question::Skeyid { prf, nonces, .. } => {
            Answer::Skeyid(psk_skeyid(*prf, &psk, nonces).unwrap())
        }
        _ => Answer::Refused("not asked here".into()),
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
        one_family: false,
        selects: Selects { protocols: vec![6, 17], masks: false },
        remarks: Vec::new(),
    }
}
