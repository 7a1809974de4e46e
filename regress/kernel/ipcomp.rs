//! IPComp beside an SA, on scripted kernels of every dialect.

use super::scripted::{Scene, US, everywhere, in_sa, moved, out_sa};
use super::util::{Road, sas};
use super::{flow, ip};
use oakd::ike::event::{
    Cpi, Direction, KernelAnswer, KernelFlow, KernelRequest, KernelSa, SaKey, Time,
};
use oakd::kernel::Kernel;
use pfkey::{Protocol, Request};
use std::time::Duration;

#[test]
fn ipcomp_comes_and_goes_with_its_sa() {
    everywhere(|mut scene| {
        let name = scene.road.dialect.name;
        let (spi, cpi) = (scene.spi(), scene.cpi());
        assert!(cpi.0 > 255 && cpi.0 < 61440, "{name}");
        scene.road.names();
        scene.add(KernelSa { ipcomp: Some(cpi), ..in_sa(spi) });
        scene.add(KernelSa { ipcomp: Some(Cpi(0x4321)), ..out_sa(0x1234_5678) });
        let asked = scene.road.names();
        let groups = asked.iter().filter(|name| *name == "Group").count();
        assert_eq!(groups, if name == "openbsd" { 2 } else { 0 }, "{name}: {asked:?}");
        let found = sas(&scene.road);
        let compress = |info: &&pfkey::SaInfo| info.id.protocol == Protocol::IpComp;
        assert_eq!(found.iter().filter(compress).count(), 2, "{name}");
        for info in &found {
            let inner = info.id.protocol == Protocol::IpComp;
            let mode = if inner { pfkey::Mode::Tunnel } else { pfkey::Mode::Transport };
            assert_eq!(info.mode, Some(mode), "{name}: the inner SA makes the tunnel");
        }
        for key in [in_sa(spi).key, out_sa(0x1234_5678).key] {
            assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done, "{name}");
        }
        assert_eq!(scene.road.kernel.borrow().sa_count(), 0, "{name}");
    });
}

#[test]
fn a_cpi_that_is_not_used_is_given_back() {
    everywhere(|mut scene| {
        let (src, dst) = (ip("198.51.100.1"), ip("192.0.2.1"));
        let cpi = scene.cpi();
        assert_eq!(scene.road.kernel.borrow().sa_count(), 1);
        assert_eq!(scene.ask(KernelRequest::DropCpi { cpi, src, dst }), KernelAnswer::Done);
        assert_eq!(scene.road.kernel.borrow().sa_count(), 0);
    });
}

#[test]
fn a_kernel_without_ipcomp_says_so() {
    let road = Road::new("openbsd", US);
    let mut scene = Scene { kernel: Kernel::new(road.clone()), road, id: 0 };
    let (src, dst) = (ip("198.51.100.1"), ip("192.0.2.1"));
    let answer = scene.ask(KernelRequest::GetCpi { src, dst });
    assert!(matches!(answer, KernelAnswer::Failed(_)), "{answer:?}");
}

#[test]
fn when_ipcomp_fails_its_sa_is_taken_back() {
    everywhere(|mut scene| {
        let name = scene.road.dialect.name;
        let taken = KernelSa { ipcomp: Some(Cpi(0x4321)), ..out_sa(0x1111) };
        scene.add(taken);
        let answer = scene.ask(KernelRequest::AddSa(Box::new(KernelSa {
            ipcomp: Some(Cpi(0x4321)),
            ..out_sa(0x2222)
        })));
        assert!(matches!(answer, KernelAnswer::Failed(_)), "{name}: {answer:?}");
        let left: Vec<u32> = sas(&scene.road).iter().map(|info| info.id.spi.0).collect();
        assert!(left.contains(&0x1111) && !left.contains(&0x2222), "{name}: {left:x?}");
    });
}

#[test]
fn a_compressing_flow_names_both_or_the_first() {
    everywhere(|mut scene| {
        let flow = KernelFlow { ipcomp: true, ..flow(Direction::In) };
        assert_eq!(scene.ask(KernelRequest::AddFlow(Box::new(flow))), KernelAnswer::Done);
        let asked = scene.road.asked.borrow();
        let Some(Request::AddFlow(flow)) = asked.last() else { panic!() };
        let transforms: Vec<_> =
            flow.transforms.iter().map(|t| (t.protocol, t.mode, t.optional)).collect();
        let compress = (Protocol::IpComp, pfkey::Mode::Tunnel, true);
        assert_eq!(transforms, [compress, (Protocol::Esp, pfkey::Mode::Transport, false)]);
    });
}

#[test]
fn ipcomp_moves_with_its_sa() {
    for dialect in ["openbsd", "freebsd", "netbsd", "linux"] {
        let mut scene = Scene::new(dialect);
        let (answer, names, found) = moved(true, &mut scene);
        assert!(matches!(answer, KernelAnswer::Moved { .. }), "{dialect}: {answer:?} {names:?}");
        let ends: Vec<_> = found.iter().map(|info| info.id.dst).collect();
        assert_eq!(ends, [ip("203.0.113.9"); 2], "{dialect}");
        let key = SaKey { dst: ip("203.0.113.9"), ..out_sa(0x1234_5678).key };
        assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done);
        assert_eq!(scene.road.kernel.borrow().sa_count(), 0, "{dialect}");
    }
}

#[test]
fn ipcomp_goes_when_the_kernel_ends_its_sa() {
    let mut scene = Scene::new("openbsd");
    let mut sa = KernelSa { ipcomp: Some(Cpi(0x4321)), ..out_sa(0x1234_5678) };
    (sa.soft.seconds, sa.hard.seconds) = (5, 10);
    scene.add(sa);
    scene.road.kernel.borrow_mut().advance(12);
    scene.kernel.readable(Time::at(Duration::from_secs(14)));
    assert_eq!(scene.road.kernel.borrow().sa_count(), 0);
}
