//! The kernel side on scripted kernels of every dialect.

use std::time::Duration;

use oakd::conf::{Mode, SaProtocol};
use oakd::ike::event::{
    Cpi, Direction, Input, KernelAnswer, KernelFlow, KernelRequest, KernelSa, RequestId, SaKey,
    SaMove, Time,
};
use oakd::ipsecctl::show;
use oakd::kernel::Kernel;
use oakd::wire::EspSpi;
use pfkey::{Dialect, Incoming, Protocol, ReplyData, Request};

use super::util::{Road, sas};
use super::{flow, ip, outbound};

pub const US: u32 = 4711;

pub struct Scene {
    pub road: Road,
    pub kernel: Kernel<Road>,
    pub id: u64,
}

impl Scene {
    pub fn new(dialect: &str) -> Self {
        let road = Road::new(dialect, US);
        road.kernel.borrow_mut().enable_ipcomp();
        let mut kernel = Kernel::new(road.clone());
        kernel.start(Time::at(Duration::from_secs(1)));
        road.names();
        Self { road, kernel, id: 0 }
    }

    pub fn ask(&mut self, request: KernelRequest) -> KernelAnswer {
        self.id += 1;
        let now = Time::at(Duration::from_secs(2));
        self.kernel.request(now, RequestId(self.id), request);
        self.kernel.readable(now);
        let mut answer = None;
        while let Some(input) = self.kernel.poll() {
            if let Input::Kernel(owner, told) = input
                && owner.0 == self.id
            {
                assert!(answer.replace(told).is_none(), "one answer for one request");
            }
        }
        answer.expect("an answer")
    }

    pub fn spi(&mut self) -> EspSpi {
        self.spi_of(SaProtocol::Esp)
    }

    pub fn spi_of(&mut self, protocol: SaProtocol) -> EspSpi {
        let (src, dst) = (ip("198.51.100.1"), ip("192.0.2.1"));
        match self.ask(KernelRequest::GetSpi { protocol, src, dst }) {
            KernelAnswer::Spi(spi) => spi,
            other => panic!("{other:?}"),
        }
    }

    pub fn cpi(&mut self) -> Cpi {
        let (src, dst) = (ip("198.51.100.1"), ip("192.0.2.1"));
        match self.ask(KernelRequest::GetCpi { src, dst }) {
            KernelAnswer::Cpi(cpi) => cpi,
            other => panic!("{other:?}"),
        }
    }

    pub fn add(&mut self, sa: KernelSa) {
        let name = self.road.dialect.name;
        assert_eq!(self.ask(KernelRequest::AddSa(Box::new(sa))), KernelAnswer::Done, "{name}");
    }
}

pub fn out_sa(spi: u32) -> KernelSa {
    let KernelRequest::AddSa(sa) = outbound(spi) else { unreachable!() };
    *sa
}

pub fn in_sa(spi: EspSpi) -> KernelSa {
    let (src, dst) = (ip("198.51.100.1"), ip("192.0.2.1"));
    let key = SaKey { protocol: SaProtocol::Esp, spi, src, dst };
    KernelSa { key, direction: Direction::In, ..out_sa(0) }
}

pub fn everywhere(story: impl Fn(Scene)) {
    Dialect::all().iter().for_each(|dialect| story(Scene::new(dialect.name)));
}

#[test]
fn a_child_comes_and_goes_on_every_kernel() {
    everywhere(|mut scene| {
        let name = scene.road.dialect.name;
        let spi = scene.spi();
        scene.add(in_sa(spi));
        scene.add(out_sa(0x1234_5678));
        for direction in [Direction::In, Direction::Out] {
            let flow = Box::new(flow(direction));
            assert_eq!(scene.ask(KernelRequest::AddFlow(flow)), KernelAnswer::Done, "{name}");
        }
        assert_eq!(scene.road.kernel.borrow().sa_count(), 2, "{name}");
        let found = sas(&scene.road);
        let inbound = found.iter().find(|info| info.id.spi.0 == spi.0).unwrap();
        let outbound = found.iter().find(|info| info.id.spi.0 == 0x1234_5678).unwrap();
        assert_eq!(inbound.reqid, outbound.reqid, "{name}");
        for direction in [Direction::In, Direction::Out] {
            let flow = Box::new(flow(direction));
            assert_eq!(scene.ask(KernelRequest::DeleteFlow(flow)), KernelAnswer::Done, "{name}");
        }
        for key in [in_sa(spi).key, out_sa(0x1234_5678).key] {
            assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done, "{name}");
        }
        let kernel = scene.road.kernel.borrow();
        assert_eq!((kernel.sa_count(), kernel.flow_count()), (0, 0), "{name}");
    });
}

#[test]
fn where_getspi_fixes_the_reqid_the_larval_sa_is_replaced() {
    everywhere(|mut scene| {
        let spi = scene.spi();
        scene.road.names();
        scene.add(in_sa(spi));
        let asked: &[&str] = match scene.road.dialect.name {
            "freebsd" | "netbsd" => &["Delete", "Add"],
            _ => &["Update"],
        };
        assert_eq!(scene.road.names(), asked, "{}", scene.road.dialect.name);
    });
}

pub fn moved(ipcomp: bool, scene: &mut Scene) -> (KernelAnswer, Vec<String>, Vec<pfkey::SaInfo>) {
    let ipcomp = ipcomp.then_some(Cpi(0x4321));
    let sa = KernelSa { ipcomp, encap: Some((4500, 4500)), ..out_sa(0x1234_5678) };
    let key = sa.key;
    scene.add(sa);
    let flow = KernelFlow { ipcomp: ipcomp.is_some(), ..flow(Direction::Out) };
    assert_eq!(scene.ask(KernelRequest::AddFlow(Box::new(flow.clone()))), KernelAnswer::Done);
    scene.road.names();
    let answer = scene.ask(KernelRequest::MoveSa(Box::new(SaMove {
        key,
        direction: Direction::Out,
        src: key.src,
        dst: ip("203.0.113.9"),
        encap: Some((4500, 61000)),
        selector: Some(flow.selector),
    })));
    let names = scene.road.names();
    (answer, names, sas(&scene.road))
}

#[test]
fn an_sa_moves_by_what_the_kernel_has_for_it() {
    for (dialect, asked, counts_on) in [
        ("openbsd", &["Get", "Move"][..], true),
        ("freebsd", &["Get", "Move"], true),
        ("netbsd", &["Get", "Delete", "Add"], false),
        ("linux", &["Get", "Move", "Update"], true),
    ] {
        let mut scene = Scene::new(dialect);
        let (answer, names, found) = moved(false, &mut scene);
        assert_eq!(answer, KernelAnswer::Moved { counts_on }, "{dialect}");
        assert_eq!(names, asked, "{dialect}");
        let [info] = &found[..] else { panic!("{dialect}: {found:?}") };
        assert_eq!(info.id.dst, ip("203.0.113.9"), "{dialect}");
        assert_eq!(info.encap.map(|encap| encap.dst_port), Some(61000), "{dialect}");
        // It is known by its new name.
        let key = SaKey { dst: ip("203.0.113.9"), ..out_sa(0x1234_5678).key };
        assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done);
        assert_eq!(scene.road.kernel.borrow().sa_count(), 0, "{dialect}");
    }
}

/// An SA and its successor have the same ends and reqid. Linux moves one of the two, and should the other go
/// before it is moved as well it is looked for where it was, too.
#[test]
fn of_two_that_linux_cannot_tell_apart_none_stays_behind() {
    let mut scene = Scene::new("linux");
    let (old, successor) = (out_sa(0x1234_5678), out_sa(0x1234_5679));
    let (key, selector) = (old.key, flow(Direction::Out).selector);
    scene.add(old);
    scene.add(successor);
    let flow = Box::new(flow(Direction::Out));
    assert_eq!(scene.ask(KernelRequest::AddFlow(flow)), KernelAnswer::Done);
    let dst = ip("203.0.113.9");
    let (src, selector) = (key.src, Some(selector));
    let to = SaMove { key, direction: Direction::Out, src, dst, encap: None, selector };
    let answer = scene.ask(KernelRequest::MoveSa(Box::new(to)));
    assert_eq!(answer, KernelAnswer::Moved { counts_on: true });
    assert_eq!(scene.ask(KernelRequest::DeleteSa(SaKey { dst, ..key })), KernelAnswer::Done);
    let left: Vec<_> = sas(&scene.road).iter().map(|info| (info.id.spi.0, info.id.dst)).collect();
    assert_eq!(left, [(0x1234_5679, dst)]);
}

#[test]
fn an_interface_is_named_where_it_can_be() {
    let with = |iface: &str| KernelSa { iface: Some(iface.into()), ..out_sa(0x1234_5678) };
    let mut openbsd = Scene::new("openbsd");
    openbsd.add(with("sec3"));
    let expected = pfkey::Iface { unit: 3, direction: pfkey::Direction::Out };
    assert_eq!(sas(&openbsd.road)[0].iface, Some(expected));
    let mut freebsd = Scene::new("freebsd");
    freebsd.add(with("ipsec7"));
    assert_eq!(sas(&freebsd.road)[0].reqid, 7, "an if_ipsec(4) is found by its reqid");
    for (dialect, iface) in [
        ("openbsd", "ipsec0"),
        ("openbsd", "sec"),
        ("freebsd", "ipsec0"),
        ("freebsd", "ipsec+1"),
        ("netbsd", "ipsec1"),
        ("linux", "ipsec1"),
    ] {
        let answer = Scene::new(dialect).ask(KernelRequest::AddSa(Box::new(with(iface))));
        let KernelAnswer::Failed(why) = answer else { panic!("{dialect}: {answer:?}") };
        assert!(why.starts_with(iface), "{why}");
    }
}

#[test]
fn tags_taps_and_rdomains_are_openbsds() {
    let sa = || KernelSa {
        tag: Some("office".into()),
        tap: Some(2),
        rdomain: Some(4),
        ..out_sa(0x1234_5678)
    };
    let mut scene = Scene::new("openbsd");
    let refused = scene.ask(KernelRequest::AddSa(Box::new(sa())));
    assert!(matches!(refused, KernelAnswer::Failed(_)), "there is no such rdomain yet");
    scene.road.kernel.borrow_mut().add_rdomain(4);
    scene.add(sa());
    let found = sas(&scene.road);
    assert_eq!((found[0].tag.as_deref(), found[0].tap), (Some("office"), Some(2)));
    // Looked up where the clear packets are; what comes out goes where the daemon is.
    assert_eq!(found[0].rdomain, Some((4, 0)));
    let spi = scene.spi();
    scene.add(KernelSa { rdomain: Some(4), ..in_sa(spi) });
    let found = sas(&scene.road);
    let inbound = found.iter().find(|info| info.id.spi.0 == spi.0).unwrap();
    assert_eq!(inbound.rdomain, Some((0, 4)));
    for key in [sa().key, in_sa(spi).key] {
        assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done);
    }
    let asked = scene.road.asked.borrow();
    let deleted: Vec<_> = asked
        .iter()
        .filter_map(|r| if let Request::Delete(id) = r { Some(id.rdomain) } else { None })
        .collect();
    assert_eq!(deleted, [Some(4), Some(0)], "each is named with its domain");
    for dialect in ["freebsd", "netbsd", "linux"] {
        let answer = Scene::new(dialect).ask(KernelRequest::AddSa(Box::new(sa())));
        assert!(
            matches!(&answer, KernelAnswer::Failed(why) if why.contains("cannot")),
            "{answer:?}"
        );
    }
}

#[test]
fn encrypted_packets_are_in_the_rdomain_of_the_daemon() {
    let road = Road::new("openbsd", US);
    for domain in [3, 4] {
        road.kernel.borrow_mut().add_rdomain(domain);
    }
    let kernel = Kernel::new(road.clone()).in_rdomain(3);
    let mut scene = Scene { kernel, road, id: 0 };
    scene.add(KernelSa { rdomain: Some(4), ..out_sa(0x1234_5678) });
    assert_eq!(sas(&scene.road)[0].rdomain, Some((4, 3)));
}

#[test]
fn an_sa_that_is_not_used_lives_as_long_as_one_that_is() {
    everywhere(|mut scene| {
        let mut sa = out_sa(0x1234_5678);
        (sa.soft.seconds, sa.hard.seconds) = (100, 200);
        scene.add(sa);
        scene.road.kernel.borrow_mut().advance(150);
        assert_eq!(scene.road.kernel.borrow().sa_count(), 1, "{}", scene.road.dialect.name);
        scene.road.kernel.borrow_mut().advance(60);
        assert_eq!(scene.road.kernel.borrow().sa_count(), 0, "{}", scene.road.dialect.name);
    });
}

#[test]
fn ah_protects_without_cipher() {
    everywhere(|mut scene| {
        let mut sa = out_sa(0x1234_5678);
        sa.key.protocol = SaProtocol::Ah;
        sa.encryption = None;
        let key = sa.key;
        scene.add(KernelSa { mode: Mode::Transport, ..sa });
        assert_eq!(sas(&scene.road)[0].id.protocol, Protocol::Ah);
        assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done);
    });
}

#[test]
fn a_larval_sa_that_is_gone_is_added() {
    everywhere(|mut scene| {
        let spi = scene.spi();
        scene.road.kernel.borrow_mut().advance(90);
        assert_eq!(scene.road.kernel.borrow().sa_count(), 0);
        scene.add(in_sa(spi));
        assert_eq!(sas(&scene.road)[0].id.spi.0, spi.0, "{}", scene.road.dialect.name);
    });
}

#[test]
fn a_move_that_is_refused_is_made_anew() {
    // The SA is another process's: FreeBSD takes no UPDATE from us.
    let mut scene = Scene::new("freebsd");
    let sa = out_sa(0x1234_5678);
    let key = sa.key;
    scene.road.pid = US + 1;
    let mut other = Kernel::new(Road { pid: US + 1, ..scene.road.clone() });
    other.request(Time::default(), RequestId(1), KernelRequest::AddSa(Box::new(sa)));
    let answer = scene.ask(KernelRequest::MoveSa(Box::new(SaMove {
        key,
        direction: Direction::Out,
        src: key.src,
        dst: ip("203.0.113.9"),
        encap: None,
        selector: None,
    })));
    assert_eq!(answer, KernelAnswer::Moved { counts_on: false });
    assert_eq!(sas(&scene.road)[0].id.dst, ip("203.0.113.9"));
}

#[test]
fn a_dump_that_wakes_nobody_is_read() {
    // Nothing calls `readable` here: the start itself must have read what an earlier run left.
    let road = Road::new("netbsd", US);
    let mut earlier = Kernel::new(road.clone());
    earlier.request(Time::default(), RequestId(1), outbound(0x1234_5678));
    let mut kernel = Kernel::new(road.clone());
    kernel.start(Time::default());
    kernel.sweep(Time::default());
    assert_eq!(road.kernel.borrow().sa_count(), 0);
}

#[test]
fn an_sa_that_is_dead_is_not_shown() {
    let mut scene = Scene::new("netbsd");
    scene.add(out_sa(0x1234_5678));
    let mut dump = Vec::new();
    let socket = scene.road.kernel.borrow_mut().open(US);
    for packet in scene.road.dialect.compose(&Request::Dump(None), 1, US).unwrap() {
        scene.road.kernel.borrow_mut().write(socket, &packet).unwrap();
    }
    while let Some(packet) = scene.road.kernel.borrow_mut().read(socket) {
        dump.push(packet.to_vec());
    }
    let shown = |dump: &[Vec<u8>]| show::sas(scene.road.dialect, dump, show::Style::default());
    assert_eq!(shown(&dump).lines().count(), 1);
    // The SA comes first behind the header; its state is the tenth octet: dead.
    assert_eq!((dump[0][18], dump[0][25]), (1, 1));
    dump[0][25] = 3;
    assert_eq!(shown(&dump), "");
}

/// The kernel's number for the only outbound flow; 0 where there are no numbers.
fn number_of_the_flow(road: &Road) -> u32 {
    let mut kernel = road.kernel.borrow_mut();
    let socket = kernel.open(road.pid);
    let packets = road.dialect.compose(&Request::DumpFlows, 1, road.pid).unwrap_or_default();
    packets.iter().for_each(|packet| kernel.write(socket, packet).unwrap());
    while let Some(packet) = kernel.read(socket) {
        if let Ok(Incoming::Reply(reply)) = road.dialect.interpret(&packet)
            && let ReplyData::Flow(info) = reply.data
        {
            return info.id;
        }
    }
    0
}

#[test]
fn an_acquire_that_does_not_tell_its_flow_is_asked_for_it() {
    everywhere(|mut scene| {
        let name = scene.road.dialect.name;
        let wanted = flow(Direction::Out);
        let added = scene.ask(KernelRequest::AddFlow(Box::new(wanted.clone())));
        assert_eq!(added, KernelAnswer::Done, "{name}");
        let number = number_of_the_flow(&scene.road);
        let esp = if name == "openbsd" { 1 } else { 3 };
        scene.road.kernel.borrow_mut().acquire(number, esp, wanted.local, wanted.remote);
        scene.kernel.readable(Time::at(Duration::from_secs(3)));
        let inputs = std::iter::from_fn(|| scene.kernel.poll());
        let acquire = inputs.filter_map(|input| match input {
            Input::Acquire(acquire) => Some(acquire),
            _ => None,
        });
        let all: Vec<_> = acquire.collect();
        assert_eq!(all.len(), 1, "{name}");
        assert_eq!((all[0].local, all[0].remote), (wanted.local, wanted.remote), "{name}");
        let reqid = scene.road.dialect.behaviour.reqids.then_some(wanted.reqid);
        assert_eq!(all[0].reqid, reqid, "{name}");
        assert_eq!(all[0].selector, Some(wanted.selector), "{name}");
    });
}

/// Whether a daemon on this road learns what the kernel can do.
fn learns(road: &Road) -> bool {
    let mut kernel = Kernel::new(road.clone());
    kernel.start(Time::default());
    let capabilities = |input| matches!(input, Input::Capabilities(_));
    std::iter::from_fn(|| kernel.poll()).any(capabilities)
}

#[test]
fn whoever_takes_over_needs_a_socket_of_its_own_unless_it_may_register_again() {
    for dialect in Dialect::all() {
        let road = Road::new(dialect.name, US);
        assert!(learns(&road), "{}", dialect.name);
        assert_eq!(learns(&road), dialect.behaviour.registers_again, "{}", dialect.name);
        let socket = road.kernel.borrow_mut().open(US);
        assert!(learns(&Road { socket, ..road }), "{}", dialect.name);
    }
}

#[test]
fn a_flow_that_is_there_is_taken_over() {
    everywhere(|mut scene| {
        for reqid in [1, 2] {
            let flow = KernelFlow { reqid, ..flow(Direction::Out) };
            let answer = scene.ask(KernelRequest::AddFlow(Box::new(flow)));
            assert_eq!(answer, KernelAnswer::Done, "{}", scene.road.dialect.name);
        }
        assert_eq!(scene.road.kernel.borrow().flow_count(), 1, "{}", scene.road.dialect.name);
    });
}

#[test]
fn reqids_are_within_what_the_kernel_keeps() {
    everywhere(|mut scene| {
        for (spi, reqid) in [(0x1001, 0), (0x1002, 1), (0x1003, u32::MAX)] {
            scene.add(KernelSa { reqid, ..out_sa(spi) });
        }
        let most = scene.road.dialect.behaviour.reqid_max;
        for info in sas(&scene.road).iter().filter(|info| info.reqid != 0) {
            assert!(info.reqid <= most, "{}", scene.road.dialect.name);
        }
    });
}
