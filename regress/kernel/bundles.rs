//! Bundles on scripted kernels of every dialect: IPComp within ESP, AH around it.

use std::time::Duration;

use oakd::conf::SaProtocol;
use oakd::crypto::Secret;
use oakd::ike::event::{
    Around, Cpi, Direction, Expire, Input, KernelAnswer, KernelFlow, KernelRequest, KernelSa,
    RequestId, SaMove, Time,
};
use oakd::kernel::Kernel;
use oakd::wire::EspSpi;
use oakd::wire::iana::v2::IntegrityId;
use pfkey::{Protocol, Request};

use super::scripted::{Scene, everywhere, in_sa, out_sa};
use super::util::sas;
use super::{flow, ip};

/// The SPIs of an outbound bundle.
const OUT: (u32, u32, u16) = (0x1234_5678, 0x1234_9999, 0x4321);

fn around(spi: EspSpi) -> Option<Box<Around>> {
    let integrity = (IntegrityId::AUTH_HMAC_SHA1_96, Secret::new(vec![3; 20]));
    Some(Box::new(Around { spi, integrity }))
}

fn out_bundle(ipcomp: bool) -> KernelSa {
    let (esp, ah, cpi) = OUT;
    let ipcomp = ipcomp.then_some(Cpi(cpi));
    KernelSa { ipcomp, around: around(EspSpi(ah)), ..out_sa(esp) }
}

fn in_bundle(scene: &mut Scene, ipcomp: bool) -> KernelSa {
    let cpi = ipcomp.then(|| scene.cpi());
    let (ah, esp) = (scene.spi_of(SaProtocol::Ah), scene.spi());
    KernelSa { ipcomp: cpi, around: around(ah), ..in_sa(esp) }
}

/// What the kernel holds, each with its mode; the protocols in their order.
fn held(scene: &Scene) -> Vec<(Protocol, pfkey::Mode)> {
    let modes = sas(&scene.road).into_iter().map(|it| (it.id.protocol, it.mode.unwrap()));
    let mut held: Vec<_> = modes.collect();
    held.sort_by_key(|(protocol, _)| match protocol {
        Protocol::IpComp => 0,
        Protocol::Esp => 1,
        _ => 2,
    });
    held
}

fn later(seconds: u64) -> Time {
    Time::at(Duration::from_secs(seconds))
}

/// What the kernel told of lifetimes.
fn expired(scene: &mut Scene) -> Vec<Expire> {
    scene.kernel.readable(later(20));
    let inputs = std::iter::from_fn(|| scene.kernel.poll());
    inputs.filter_map(|it| if let Input::Expire(it) = it { Some(it) } else { None }).collect()
}

#[test]
fn a_bundle_comes_and_goes_on_every_kernel() {
    let (tunnel, transport) = (pfkey::Mode::Tunnel, pfkey::Mode::Transport);
    for ipcomp in [false, true] {
        everywhere(|mut scene| {
            let name = scene.road.dialect.name;
            let inbound = in_bundle(&mut scene, ipcomp);
            scene.road.names();
            let keys = [inbound.key, out_bundle(ipcomp).key];
            scene.add(inbound);
            scene.add(out_bundle(ipcomp));
            let asked = scene.road.names();
            let groups = asked.iter().filter(|name| *name == "Group").count();
            let pairs = if ipcomp { 4 } else { 2 };
            assert_eq!(groups, if name == "openbsd" { pairs } else { 0 }, "{name}: {asked:?}");
            let all = [
                (Protocol::IpComp, tunnel),
                (Protocol::Esp, if ipcomp { transport } else { tunnel }),
                (Protocol::Ah, transport),
            ];
            let each = all.into_iter().skip(usize::from(!ipcomp));
            let wanted: Vec<_> = each.flat_map(|it| [it, it]).collect();
            assert_eq!(held(&scene), wanted, "{name}");
            let reqids: Vec<_> = sas(&scene.road).iter().map(|info| info.reqid).collect();
            assert!(reqids.windows(2).all(|two| two[0] == two[1]), "{name}: {reqids:?}");
            for spi in [OUT.0, OUT.1] {
                scene.road.kernel.borrow_mut().packet(spi, 1000);
            }
            let counted = scene.ask(KernelRequest::QuerySa(keys[1]));
            let KernelAnswer::Counters(counted) = counted else { panic!("{name}: {counted:?}") };
            assert_eq!(counted.bytes, 1000, "{name}");
            for key in keys {
                assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done, "{name}");
            }
            assert_eq!(scene.road.kernel.borrow().sa_count(), 0, "{name}");
        });
    }
}

#[test]
fn openbsd_ties_the_sas_from_the_inside_out() {
    let mut scene = Scene::new("openbsd");
    scene.add(out_bundle(true));
    let asked = scene.road.asked.borrow();
    let pairs = asked.iter().filter_map(|request| match request {
        Request::Group { first, then } => Some((first.protocol, then.protocol)),
        _ => None,
    });
    let wanted = [(Protocol::IpComp, Protocol::Esp), (Protocol::Esp, Protocol::Ah)];
    assert_eq!(pairs.collect::<Vec<_>>(), wanted);
}

#[test]
fn when_any_sa_of_a_bundle_fails_nothing_of_it_stays() {
    let (esp, ah, cpi) = OUT;
    // Another SA with one of the SPIs is there already.
    let others = [
        KernelSa { ipcomp: Some(Cpi(cpi)), ..out_sa(0x1111) },
        KernelSa { around: around(EspSpi(ah)), ..out_sa(0x1111) },
        out_sa(esp),
    ];
    for which in 0..others.len() {
        everywhere(|mut scene| {
            let name = scene.road.dialect.name;
            let other = match which {
                0 => KernelSa { ipcomp: Some(Cpi(cpi)), ..out_sa(0x1111) },
                1 => KernelSa { around: around(EspSpi(ah)), ..out_sa(0x1111) },
                _ => out_sa(esp),
            };
            scene.add(other);
            let answer = scene.ask(KernelRequest::AddSa(Box::new(out_bundle(true))));
            assert!(matches!(answer, KernelAnswer::Failed(_)), "{name}: {answer:?}");
            let mut own = vec![esp, ah, u32::from(cpi)];
            own.remove([2, 1, 0][which]);
            let left: Vec<_> = sas(&scene.road).iter().map(|info| info.id.spi.0).collect();
            assert!(own.iter().all(|spi| !left.contains(spi)), "{name}: {left:x?}");
        });
    }
}

#[test]
fn an_inbound_bundle_that_fails_gives_back_what_was_reserved() {
    everywhere(|mut scene| {
        let name = scene.road.dialect.name;
        let mut inbound = in_bundle(&mut scene, true);
        // A key that no kernel takes.
        let integrity = (IntegrityId::AUTH_HMAC_SHA1_96, Secret::new(vec![3; 7]));
        let spi = inbound.around.take().unwrap().spi;
        inbound.around = Some(Box::new(Around { spi, integrity }));
        let key = inbound.key;
        let answer = scene.ask(KernelRequest::AddSa(Box::new(inbound)));
        assert!(matches!(answer, KernelAnswer::Failed(_)), "{name}: {answer:?}");
        // As the engine does, to which the SPI in the middle was given.
        scene.ask(KernelRequest::DeleteSa(key));
        assert_eq!(scene.road.kernel.borrow().sa_count(), 0, "{name}");
    });
}

#[test]
fn a_flow_names_all_of_a_bundle_from_the_inside_out() {
    everywhere(|mut scene| {
        let flow = KernelFlow { ipcomp: true, around: true, ..flow(Direction::In) };
        assert_eq!(scene.ask(KernelRequest::AddFlow(Box::new(flow))), KernelAnswer::Done);
        let asked = scene.road.asked.borrow();
        let Some(Request::AddFlow(flow)) = asked.last() else { panic!() };
        let transforms: Vec<_> = flow
            .transforms
            .iter()
            .map(|it| (it.protocol, it.mode, it.optional, it.endpoints.is_some()))
            .collect();
        let (tunnel, transport) = (pfkey::Mode::Tunnel, pfkey::Mode::Transport);
        let wanted = [
            (Protocol::IpComp, tunnel, true, true),
            (Protocol::Esp, transport, false, false),
            (Protocol::Ah, transport, false, false),
        ];
        assert_eq!(transforms, wanted);
    });
}

#[test]
fn whichever_sa_reaches_a_lifetime_it_is_the_bundle_that_does() {
    everywhere(|mut scene| {
        let name = scene.road.dialect.name;
        let bundle = || {
            let mut sa = out_bundle(true);
            (sa.soft.bytes, sa.hard.bytes) = (1000, 2000);
            (sa.soft.seconds, sa.hard.seconds) = (0, 0);
            sa
        };
        let key = bundle().key;
        for spi in [OUT.0, OUT.1] {
            scene.add(bundle());
            scene.road.kernel.borrow_mut().packet(spi, 1500);
            let told = expired(&mut scene);
            assert_eq!(told, [Expire { key, hard: false }], "{name}: {spi:x}");
            scene.road.kernel.borrow_mut().packet(spi, 1500);
            let told = expired(&mut scene);
            if scene.road.dialect.behaviour.soft_deletes_unused {
                // NetBSD says nothing: the engine's own time comes.
                assert_eq!(told, []);
                assert_eq!(scene.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done);
            } else {
                assert_eq!(told, [Expire { key, hard: true }], "{name}: {spi:x}");
            }
            let held = scene.road.kernel.borrow().sa_count();
            assert_eq!(held, 0, "{name}: {spi:x} ends all of the bundle");
        }
    });
}

#[test]
fn a_bundle_that_moves_begins_ah_anew_and_says_so() {
    for name in ["openbsd", "freebsd", "netbsd", "linux"] {
        let mut scene = Scene::new(name);
        scene.add(out_bundle(true));
        let out = KernelFlow { ipcomp: true, around: true, ..flow(Direction::Out) };
        let selector = out.selector;
        assert_eq!(scene.ask(KernelRequest::AddFlow(Box::new(out))), KernelAnswer::Done);
        let sa = out_bundle(true);
        let dst = ip("203.0.113.9");
        let answer = scene.ask(KernelRequest::MoveSa(Box::new(SaMove {
            key: sa.key,
            direction: Direction::Out,
            src: sa.key.src,
            dst,
            encap: None,
            selector: Some(selector),
        })));
        // Where the kernel tells no keys nothing can be made anew.
        if let KernelAnswer::Failed(_) = answer {
            assert_eq!(scene.road.kernel.borrow().sa_count(), 3, "{name}");
            continue;
        }
        assert_eq!(answer, KernelAnswer::Moved { counts_on: false }, "{name}");
        let places: Vec<_> = sas(&scene.road).iter().map(|info| info.id.dst).collect();
        assert_eq!(places, [dst; 3], "{name}");
    }
}

#[test]
fn what_a_crash_left_of_a_bundle_goes() {
    everywhere(|mut scene| {
        let name = scene.road.dialect.name;
        scene.add(out_bundle(true));
        for direction in [Direction::In, Direction::Out] {
            let flow = KernelFlow { ipcomp: true, around: true, ..flow(direction) };
            scene.ask(KernelRequest::AddFlow(Box::new(flow)));
        }
        let mut kept = Vec::new();
        while let Some(note) = scene.kernel.note() {
            let since = 1_000_000_000;
            kept.extend(note.there.then_some(oakd::kernel::Left { what: note.what, since }));
        }
        let mut again = Kernel::new(scene.road.clone());
        again.earlier(kept);
        again.start(later(1));
        again.readable(later(1));
        let successor = KernelSa { key: out_sa(0x2000).key, ..out_bundle(false) };
        let successor = KernelSa { around: around(EspSpi(0x2001)), ..successor };
        again.request(later(2), RequestId(1), KernelRequest::AddSa(Box::new(successor)));
        again.readable(later(2));
        again.timeout(later(10));
        again.readable(later(10));
        let left: Vec<_> = sas(&scene.road).iter().map(|info| info.id.spi.0).collect();
        assert!(!left.contains(&OUT.0) && !left.contains(&OUT.1), "{name}: {left:x?}");
        again.timeout(later(200));
        again.readable(later(200));
        let mut left: Vec<_> = sas(&scene.road).iter().map(|info| info.id.spi.0).collect();
        left.sort_unstable();
        assert_eq!(left, [0x2000, 0x2001], "{name}");
        assert_eq!(scene.road.kernel.borrow().flow_count(), 0, "{name}");
    });
}
