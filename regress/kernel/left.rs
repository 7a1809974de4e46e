//! What a crash left where nothing in the kernel tells whose it is.

use std::time::Duration;

use oakd::ike::event::{
    Cpi, Direction, KernelFlow, KernelRequest, KernelSa, KernelSelector, RequestId, Time,
};
use oakd::ike::selector::port_blocks;
use oakd::kernel::{Kept, Kernel, Left};
use pfkey::Request;

use super::util::{Road, sas};
use super::{flow, ip, outbound};

const US: u32 = 4711;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// By the scripted kernel's clock.
const SINCE: u64 = 1_000_000_000;

fn sa(spi: u32, iface: Option<&str>) -> KernelSa {
    let KernelRequest::AddSa(sa) = outbound(spi) else { unreachable!() };
    KernelSa { iface: iface.map(str::to_owned), ..*sa }
}

/// What is kept at last, as the parent hands it to a later run.
fn kept(kernel: &mut Kernel<Road>) -> Vec<Left> {
    let mut kept = Vec::new();
    while let Some(note) = kernel.note() {
        kept.retain(|left: &Left| left.what != note.what);
        if note.there {
            kept.push(Left { what: note.what, since: SINCE });
        }
    }
    kept
}

/// A daemon at work on this kernel.
struct Daemon {
    kernel: Kernel<Road>,
    asked: u64,
}

impl Daemon {
    fn new(road: &Road) -> Self {
        Self { kernel: Kernel::new(road.clone()), asked: 0 }
    }

    /// One that begins with what an earlier one has kept.
    fn after(road: &Road, left: Vec<Left>) -> Self {
        let mut daemon = Self::new(road);
        daemon.kernel.earlier(left);
        daemon.kernel.start(at(0));
        daemon
    }

    fn ask(&mut self, request: KernelRequest) {
        self.asked += 1;
        self.kernel.request(at(0), RequestId(self.asked), request);
        self.kernel.readable(at(0));
    }

    fn pass(&mut self, seconds: u64) {
        self.kernel.timeout(at(seconds));
        self.kernel.readable(at(seconds));
    }
}

fn at(seconds: u64) -> Time {
    Time::at(Duration::from_secs(seconds))
}

/// The SPIs that the kernel holds.
fn spis(road: &Road) -> Vec<u32> {
    let mut spis: Vec<u32> = sas(road).iter().map(|info| info.id.spi.0).collect();
    spis.sort_unstable();
    spis
}

/// Kernels on which an SA does not tell that it is ours, and the interface that makes it so.
const SILENT: &[(&str, Option<&str>)] =
    &[("openbsd", None), ("openbsd", Some("sec1")), ("freebsd", Some("ipsec1"))];

#[test]
fn what_is_kept_goes_when_its_successor_stands_or_after_a_while() {
    for (name, iface) in SILENT {
        let road = Road::new(name, US);
        let mut earlier = Daemon::new(&road);
        for spi in [0x1001, 0x1002] {
            earlier.ask(KernelRequest::AddSa(Box::new(sa(spi, *iface))));
        }
        let mut other = sa(0x1005, *iface);
        other.key.dst = ip("203.0.113.9");
        earlier.ask(KernelRequest::AddSa(Box::new(other)));
        let left = kept(&mut earlier.kernel);
        assert_eq!(left.len(), 3, "{name}");
        // Another program's, which nobody has kept.
        Daemon::new(&road).ask(KernelRequest::AddSa(Box::new(sa(0x2000, *iface))));
        let mut daemon = Daemon::after(&road, left);
        assert_eq!(spis(&road), [0x1001, 0x1002, 0x1005, 0x2000], "{name}: traffic goes on");
        daemon.ask(KernelRequest::AddSa(Box::new(sa(0x1003, *iface))));
        daemon.pass(4);
        assert_eq!(spis(&road), [0x1003, 0x1005, 0x2000], "{name}: what has a successor goes");
        daemon.pass(121);
        assert_eq!(spis(&road), [0x1003, 0x2000], "{name}: the stranger's stays");
        let now: Vec<Kept> = kept(&mut daemon.kernel).into_iter().map(|left| left.what).collect();
        assert_eq!(now.len(), 1, "{name}: only what is there is kept, {now:?}");
    }
}

#[test]
fn where_reqids_tell_nothing_is_kept() {
    for name in ["freebsd", "netbsd", "linux"] {
        let road = Road::new(name, US);
        let mut daemon = Daemon::new(&road);
        daemon.ask(outbound(0x1001));
        daemon.ask(KernelRequest::AddFlow(Box::new(flow(Direction::Out))));
        assert_eq!(kept(&mut daemon.kernel), [], "{name}");
    }
}

#[test]
fn an_sa_that_is_younger_than_its_record_is_somebody_elses() {
    let road = Road::new("openbsd", US);
    let mut earlier = Daemon::new(&road);
    earlier.ask(outbound(0x1001));
    let mut left = kept(&mut earlier.kernel);
    left[0].since -= 3600;
    let mut daemon = Daemon::after(&road, left);
    daemon.pass(121);
    assert_eq!(spis(&road), [0x1001]);
    assert_eq!(kept(&mut daemon.kernel), []);
}

#[test]
fn flows_that_are_kept_go_unless_they_are_wanted_again() {
    let road = Road::new("openbsd", US);
    let mut earlier = Daemon::new(&road);
    let again = flow(Direction::Out);
    let over = flow(Direction::In);
    for flow in [&again, &over] {
        earlier.ask(KernelRequest::AddFlow(Box::new(flow.clone())));
    }
    let left = kept(&mut earlier.kernel);
    assert_eq!(left.len(), 2);
    let mut daemon = Daemon::after(&road, left);
    // Under another number, as after a restart.
    daemon.ask(KernelRequest::AddFlow(Box::new(KernelFlow { reqid: 99, ..again.clone() })));
    assert_eq!(road.kernel.borrow().flow_count(), 2);
    road.asked.borrow_mut().clear();
    daemon.pass(121);
    assert_eq!(road.kernel.borrow().flow_count(), 1);
    let deleted = |request: &Request| match request {
        Request::DeleteFlow(flow) => Some(flow.direction),
        _ => None,
    };
    let deleted: Vec<_> = road.asked.borrow().iter().filter_map(deleted).collect();
    assert_eq!(deleted, [pfkey::Direction::In]);
    let now = kept(&mut daemon.kernel);
    assert_eq!(now.len(), 1);
    assert!(matches!(&now[0].what, Kept::Flow(flow) if flow.reqid == 99), "{now:?}");
}

/// Outbound flows for TCP to the ports from 1024 on.
fn to_high_ports() -> Vec<KernelFlow> {
    let of_block = |dst_port| {
        let flow = flow(Direction::Out);
        KernelFlow {
            selector: KernelSelector { ip_protocol: TCP, dst_port, ..flow.selector },
            ..flow
        }
    };
    port_blocks((1024, 65535)).into_iter().map(of_block).collect()
}

#[test]
fn masks_of_ports_are_what_the_kernel_selects_by_and_go_as_they_came() {
    let road = Road::new("openbsd", US);
    let mut earlier = Daemon::new(&road);
    for flow in to_high_ports() {
        earlier.ask(KernelRequest::AddFlow(Box::new(flow)));
    }
    let takers = |port| {
        let (src, dst) = ((ip("10.1.0.1"), 1023).into(), (ip("10.2.0.1"), port).into());
        [TCP, UDP].map(|protocol| road.kernel.borrow().takers(2, protocol, src, dst))
    };
    let asked = [0, 80, 1023, 1024, 2047, 2048, 33333, 65535];
    assert_eq!(asked.map(takers), [[0, 0], [0, 0], [0, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0]]);
    let mut left = kept(&mut earlier.kernel);
    assert_eq!(left.len(), 6);
    // The next run wants one of them again.
    let again = to_high_ports().remove(5);
    let mut daemon = Daemon::after(&road, std::mem::take(&mut left));
    daemon.ask(KernelRequest::AddFlow(Box::new(again.clone())));
    assert_eq!(road.kernel.borrow().flow_count(), 6);
    daemon.pass(121);
    assert_eq!([2048, 40000].map(takers), [[0, 0], [1, 0]]);
    daemon.ask(KernelRequest::DeleteFlow(Box::new(again)));
    assert_eq!(road.kernel.borrow().flow_count(), 0);
    assert_eq!(kept(&mut daemon.kernel), []);
}

#[test]
fn ipcomp_is_kept_with_its_sa_and_both_are_forgotten_when_they_go() {
    let road = Road::new("openbsd", US);
    road.kernel.borrow_mut().enable_ipcomp();
    let mut daemon = Daemon::new(&road);
    let sa = KernelSa { ipcomp: Some(Cpi(0x4321)), ..sa(0x1001, None) };
    let key = sa.key;
    daemon.ask(KernelRequest::AddSa(Box::new(sa)));
    let mut notes = std::iter::from_fn(|| daemon.kernel.note());
    let protocols = |note| match note {
        oakd::kernel::Note { what: Kept::Sa { protocol, .. }, there } => Some((protocol, there)),
        _ => None,
    };
    let mut told: Vec<_> = notes.by_ref().filter_map(protocols).collect();
    told.sort_unstable();
    assert_eq!(told, [(50, true), (108, true)]);
    daemon.ask(KernelRequest::DeleteSa(key));
    assert_eq!(kept(&mut daemon.kernel), []);
    assert_eq!(spis(&road), [] as [u32; 0]);
}

#[test]
fn a_flow_that_the_kernel_does_not_tell_is_not_held() {
    let road = Road::new("openbsd", US);
    let mut daemon = Daemon::new(&road);
    daemon.ask(KernelRequest::AddFlow(Box::new(flow(Direction::Out))));
    let mut left = kept(&mut daemon.kernel);
    let what = left.remove(0).what;
    let Kept::Flow(ours) = &what else { panic!("{what:?}") };
    let asked = road.asked.borrow();
    let Some(Request::AddFlow(held)) = asked.last() else { panic!("{asked:?}") };
    let mut to_another = (**held).clone();
    to_another.transforms[0].endpoints = Some((ours.local, ip("203.0.113.9")));
    assert!(what.may_be_held(&[(**held).clone()]));
    assert!(!what.may_be_held(&[to_another]));
    assert!(!what.may_be_held(&[]));
}
