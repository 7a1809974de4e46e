//! The kernel side: engine requests against a scripted road to a kernel.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bundles;
mod ipcomp;
mod left;
mod manual;
mod real;
mod scripted;
#[path = "../util/scripted.rs"]
mod util;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use oakd::conf::{Mode, Prefix, SaProtocol};
use oakd::crypto::Secret;
use oakd::ike::event::{
    Direction, Input, KernelAnswer, KernelFlow, KernelLifetime, KernelRequest, KernelSa,
    KernelSelector, Ports, RequestId, SaKey, Time,
};
use oakd::kernel::{Kernel, Link, Refusal};
use oakd::wire::EspSpi;
use oakd::wire::iana::v2::{EncryptionId, IntegrityId};
use pfkey::{
    Behaviour, Dialect, Incoming, MessageType, Protocol, Reply, ReplyData, Request, SaId, SaInfo,
    SaState, Spi,
};

const US: u32 = 4711;
const ESRCH: u8 = 3;

/// What was asked, and what the kernel will say.
#[derive(Default)]
struct Script {
    asked: Vec<(u32, Request)>,
    says: VecDeque<Result<Incoming, String>>,
    refuses: Option<Refusal>,
}

/// A road that remembers, and says what the test put into it.
#[derive(Clone)]
struct Road(Rc<RefCell<Script>>, Behaviour);

impl Link for Road {
    fn ask(&mut self, seq: u32, request: &Request) -> Result<u32, Refusal> {
        let mut script = self.0.borrow_mut();
        if let Some(refusal) = script.refuses.take() {
            return Err(refusal);
        }
        script.asked.push((seq, request.clone()));
        // As on Linux, where an inbound flow is two kernel policies.
        let inbound = |f: &pfkey::Flow| f.direction == pfkey::Direction::In;
        Ok(if matches!(request, Request::AddFlow(f) if inbound(f)) { 2 } else { 1 })
    }

    fn next(&mut self) -> Option<Result<Incoming, String>> {
        self.0.borrow_mut().says.pop_front()
    }

    fn pid(&self) -> u32 {
        US
    }

    fn behaviour(&self) -> &Behaviour {
        &self.1
    }
}

struct Bench {
    road: Road,
    kernel: Kernel<Road>,
    now: Time,
}

fn bench() -> Bench {
    bench_on("linux")
}

fn bench_on(dialect: &str) -> Bench {
    let behaviour = Dialect::by_name(dialect).unwrap().behaviour;
    let road = Road(Rc::default(), behaviour);
    Bench { kernel: Kernel::new(road.clone()), road, now: Time::at(Duration::from_secs(100)) }
}

impl Bench {
    fn ask(&mut self, id: u64, request: KernelRequest) -> u32 {
        self.kernel.request(self.now, RequestId(id), request);
        self.last_seq()
    }

    fn last_seq(&self) -> u32 {
        self.road.0.borrow().asked.last().map_or(0, |(seq, _)| *seq)
    }

    fn asked(&self) -> Vec<Request> {
        self.road.0.borrow().asked.iter().map(|(_, request)| request.clone()).collect()
    }

    fn says(&mut self, incoming: Incoming) {
        self.road.0.borrow_mut().says.push_back(Ok(incoming));
        self.kernel.readable(self.now);
    }

    fn replies(&mut self, seq: u32, pid: u32, errno: u8, data: ReplyData) {
        let dumped = matches!(data, ReplyData::SaInfo(_)) && seq == 0;
        let message = if dumped { MessageType::Dump } else { MessageType::Add };
        self.says(Incoming::Reply(Reply { message, seq, pid, errno, protocol: None, data }));
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.kernel.timeout(self.now);
    }

    /// The answers that the engine gets.
    fn answers(&mut self) -> Vec<(u64, KernelAnswer)> {
        let mut answers = Vec::new();
        while let Some(input) = self.kernel.poll() {
            if let Input::Kernel(id, answer) = input {
                answers.push((id.0, answer));
            }
        }
        answers
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(spi: u32) -> SaKey {
    let (src, dst) = (ip("192.0.2.1"), ip("198.51.100.1"));
    SaKey { protocol: SaProtocol::Esp, spi: EspSpi(spi), src, dst }
}

fn named(spi: u32) -> SaId {
    let SaKey { src, dst, .. } = key(spi);
    SaId { protocol: Protocol::Esp, spi: Spi(spi), src, dst, rdomain: None }
}

fn outbound(spi: u32) -> KernelRequest {
    KernelRequest::AddSa(Box::new(KernelSa {
        key: key(spi),
        direction: Direction::Out,
        mode: Mode::Tunnel,
        encryption: Some((EncryptionId::ENCR_AES_CBC, Secret::new(vec![1; 32]))),
        integrity: Some((IntegrityId::AUTH_HMAC_SHA2_512_256, Secret::new(vec![2; 64]))),
        esn: false,
        replay_window: 32,
        soft: KernelLifetime { seconds: 90, bytes: 0 },
        hard: KernelLifetime { seconds: 100, bytes: 0 },
        encap: None,
        ipcomp: None,
        around: None,
        reqid: 5,
        selector: None,
        tag: None,
        tap: None,
        rdomain: None,
        iface: None,
    }))
}

fn flow(direction: Direction) -> KernelFlow {
    let prefix = |text| Prefix::new(ip(text), 24).unwrap();
    let (src, dst) = (prefix("10.1.0.0"), prefix("10.2.0.0"));
    let selector =
        KernelSelector { src, dst, ip_protocol: 0, src_port: Ports::ANY, dst_port: Ports::ANY };
    KernelFlow {
        direction,
        selector,
        protocol: SaProtocol::Esp,
        mode: Mode::Tunnel,
        ipcomp: false,
        around: false,
        local: ip("192.0.2.1"),
        remote: ip("198.51.100.1"),
        reqid: 5,
        rdomain: None,
    }
}

fn left_over(spi: u32, reqid: u32) -> ReplyData {
    ReplyData::SaInfo(Box::new(SaInfo {
        id: named(spi),
        mode: None,
        reqid,
        state: SaState::Mature,
        encryption: None,
        authentication: None,
        compression: None,
        encryption_key: None,
        authentication_key: None,
        esn: false,
        replay_window: 0,
        current: None,
        soft: None,
        hard: None,
        last_use: None,
        counters: None,
        encap: None,
        selector: None,
        identities: (None, None),
        tag: None,
        tap: None,
        iface: None,
        rdomain: None,
        mtu: None,
    }))
}

/// A reqid as this kernel has it when it is one of ours.
fn our_reqid(bench: &Bench) -> u32 {
    if bench.road.1.reqid_max > 0x3fff { 0x0a00_0003 } else { 0x2003 }
}

#[test]
fn an_answer_goes_to_its_owner_once() {
    let mut bench = bench();
    let (src, dst) = (ip("198.51.100.1"), ip("192.0.2.1"));
    let seq = bench.ask(7, KernelRequest::GetSpi { protocol: SaProtocol::Esp, src, dst });
    // Another program's answer with our number, and one of ours with another number.
    bench.replies(seq, US + 1, 0, ReplyData::Sa(named(1)));
    bench.replies(seq + 50, US, 0, ReplyData::Sa(named(2)));
    assert_eq!(bench.answers(), []);
    bench.replies(seq, US, 0, ReplyData::Sa(named(0xc0de)));
    bench.replies(seq, US, 0, ReplyData::Sa(named(0xc0de)));
    assert_eq!(bench.answers(), [(7, KernelAnswer::Spi(EspSpi(0xc0de)))]);
}

#[test]
fn a_refusal_says_why() {
    let mut bench = bench();
    let seq = bench.ask(1, outbound(9));
    bench.replies(seq, US, 17, ReplyData::None);
    bench.road.0.borrow_mut().refuses =
        Some(Refusal { errno: Some(22), reason: "Invalid argument".into() });
    bench.ask(2, outbound(10));
    let answers = bench.answers();
    assert!(matches!(&answers[0], (1, KernelAnswer::Failed(why)) if why.contains("exists")));
    assert_eq!(answers[1], (2, KernelAnswer::Failed("Invalid argument".into())));
}

#[test]
fn what_is_gone_already_is_deleted() {
    let mut bench = bench();
    let seq = bench.ask(1, KernelRequest::DeleteSa(key(9)));
    bench.replies(seq, US, ESRCH, ReplyData::None);
    assert_eq!(bench.answers(), [(1, KernelAnswer::Done)]);
}

#[test]
fn a_lost_answer_is_asked_for() {
    let mut bench = bench();
    bench.ask(1, outbound(9));
    bench.pass(5);
    assert_eq!(bench.answers(), [], "not failed before we asked");
    assert!(matches!(bench.asked().last(), Some(Request::Get(sa)) if *sa == named(9)));
    let seq = bench.last_seq();
    bench.replies(seq, US, 0, left_over(9, 0));
    assert_eq!(bench.answers(), [(1, KernelAnswer::Done)]);
}

#[test]
fn silence_fails_in_the_end() {
    let mut bench = bench();
    bench.ask(1, outbound(9));
    bench.pass(5);
    bench.pass(5);
    let answers = bench.answers();
    assert!(matches!(&answers[..], [(1, KernelAnswer::Failed(why))] if why.contains("no answer")));
    assert_eq!(bench.kernel.next_timeout(), None);
}

#[test]
fn an_answer_that_cannot_be_read_is_told_when_it_is_missed() {
    let mut bench = bench();
    let (src, dst) = (ip("198.51.100.1"), ip("192.0.2.1"));
    let spi = || KernelRequest::GetSpi { protocol: SaProtocol::Esp, src, dst };
    bench.ask(1, spi());
    bench.road.0.borrow_mut().says.push_back(Err("the SA extension is cut short".into()));
    bench.kernel.readable(bench.now);
    bench.pass(5);
    bench.ask(2, spi());
    bench.pass(5);
    let told = |answer: &KernelAnswer| match answer {
        KernelAnswer::Failed(why) => why.contains("the SA extension is cut short"),
        _ => panic!("{answer:?}"),
    };
    let told: Vec<_> = bench.answers().iter().map(|(id, answer)| (*id, told(answer))).collect();
    assert_eq!(told, [(1, true), (2, false)]);
}

#[test]
fn enobufs_may_mean_done() {
    for (dialect, waits) in [("netbsd", true), ("linux", false)] {
        let mut bench = bench_on(dialect);
        if bench.road.1.enobufs_may_be_done != waits {
            continue;
        }
        let reason = "No buffer space available".to_owned();
        bench.road.0.borrow_mut().refuses = Some(Refusal { errno: Some(libc::ENOBUFS), reason });
        bench.ask(1, outbound(9));
        assert_eq!(bench.answers().is_empty(), waits, "{dialect}");
    }
}

#[test]
fn leftovers_go_when_their_successor_stands() {
    let mut bench = bench();
    bench.kernel.start(bench.now);
    let ours = our_reqid(&bench);
    bench.replies(0, US, 0, left_over(0x111, ours));
    bench.replies(0, US, 0, left_over(0x222, 77));
    let seq = bench.ask(1, outbound(9));
    bench.replies(seq, US, 0, ReplyData::Sa(named(9)));
    let deleted = |bench: &Bench| -> Vec<u32> {
        let asked = bench.asked();
        asked
            .iter()
            .filter_map(|r| if let Request::Delete(sa) = r { Some(sa.spi.0) } else { None })
            .collect()
    };
    assert_eq!(deleted(&bench), [] as [u32; 0], "packets may still be on the way");
    bench.pass(4);
    assert_eq!(deleted(&bench), [0x111], "ours goes, the stranger's stays");
}

#[test]
fn what_is_dead_already_is_no_leftover() {
    let mut bench = bench();
    bench.kernel.start(bench.now);
    let ReplyData::SaInfo(mut info) = left_over(0x111, our_reqid(&bench)) else { unreachable!() };
    info.state = SaState::Dead;
    bench.replies(0, US, 0, ReplyData::SaInfo(info));
    bench.pass(121);
    assert!(!bench.asked().iter().any(|r| matches!(r, Request::Delete(_))));
}

#[test]
fn leftovers_without_successor_go_after_a_while_or_at_the_end() {
    for end in [false, true] {
        let mut bench = bench();
        bench.kernel.start(bench.now);
        let ours = our_reqid(&bench);
        bench.replies(0, US, 0, left_over(0x111, ours));
        if end {
            bench.kernel.sweep(bench.now);
        } else {
            bench.pass(60);
            assert!(!bench.asked().iter().any(|r| matches!(r, Request::Delete(_))));
            bench.pass(61);
        }
        assert!(bench.asked().iter().any(|r| matches!(r, Request::Delete(_))), "end: {end}");
    }
}

#[test]
fn a_flow_is_composed_as_the_packets_look() {
    let mut bench = bench();
    bench.ask(1, KernelRequest::AddFlow(Box::new(flow(Direction::Out))));
    bench.ask(2, KernelRequest::AddFlow(Box::new(flow(Direction::In))));
    let ends: Vec<_> = bench
        .asked()
        .into_iter()
        .filter_map(|r| if let Request::AddFlow(f) = r { f.transforms[0].endpoints } else { None })
        .collect();
    let (us, them) = (ip("192.0.2.1"), ip("198.51.100.1"));
    assert_eq!(ends, [(us, them), (them, us)]);
}

#[test]
fn a_request_of_two_messages_is_done_when_both_are() {
    let mut bench = bench();
    let first = bench.ask(1, KernelRequest::AddFlow(Box::new(flow(Direction::In))));
    let next = bench.ask(2, outbound(9));
    assert_eq!(next, first + 2, "the second message has a number of its own");
    bench.replies(first, US, 0, ReplyData::None);
    assert_eq!(bench.answers(), []);
    bench.replies(first + 1, US, 0, ReplyData::None);
    assert_eq!(bench.answers(), [(1, KernelAnswer::Done)]);
    bench.replies(next, US, 0, ReplyData::None);
    assert_eq!(bench.answers(), [(2, KernelAnswer::Done)]);
}

#[test]
fn a_registration_that_is_lost_is_made_again_for_its_own_protocol() {
    let mut bench = bench();
    bench.kernel.start(bench.now);
    bench.pass(5);
    let asked = bench.asked();
    let times = |protocol| {
        asked.iter().filter(|r| matches!(r, Request::Register(p) if *p == protocol)).count()
    };
    assert_eq!((times(Protocol::Esp), times(Protocol::Ah)), (2, 2));
}
