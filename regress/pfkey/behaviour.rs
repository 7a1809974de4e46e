//! What kernels were seen to do and a daemon must know, each with its test: our own requests put
//! to the scripted kernels, whose truth `scripted.rs` proves.

use pfkey::dialect::EmptyDump;
use pfkey::scripted::{Kernel, SocketId};
use pfkey::*;
use std::net::IpAddr;

const PID: u32 = 77;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn dialect(name: &str) -> &'static Dialect {
    Dialect::by_name(name).unwrap()
}

fn kernel(dialect: &'static Dialect) -> (Kernel, SocketId) {
    let mut kernel = Kernel::new(dialect);
    kernel.enable_ipcomp();
    let socket = kernel.open(PID);
    (kernel, socket)
}

/// Puts a request to the kernel; the errnos of its answers, or of write(2).
fn ask(k: &mut Kernel, s: SocketId, d: &'static Dialect, request: &Request) -> Vec<Reply> {
    let mut replies = Vec::new();
    for (packet, seq) in d.compose(request, 500, PID).expect("composes").iter().zip(500..) {
        k.write(s, packet).unwrap_or_else(|e| panic!("{}: {request:?}: errno {e}", d.name));
        while let Some(answer) = k.read(s) {
            if let Incoming::Reply(reply) = d.interpret(&answer).expect("understood") {
                let entry = matches!(reply.message, MessageType::Dump | MessageType::SpdDump);
                assert!(reply.answers(PID, seq) || entry, "{reply:?}");
                replies.push(reply);
            }
        }
    }
    replies
}

fn ok(k: &mut Kernel, s: SocketId, d: &'static Dialect, request: Request) -> Vec<Reply> {
    let replies = ask(k, s, d, &request);
    assert!(!replies.is_empty(), "{}: no answer to {request:?}", d.name);
    for reply in &replies {
        assert_eq!(reply.errno, 0, "{}: {request:?}", d.name);
    }
    replies
}

/// The strongest suite that a dialect's kernel has everywhere.
fn keys(d: &Dialect, sa: &mut SaSpec) {
    if d.name == "linux" {
        sa.encryption = Some((Encryption::AesCbc, Secret::new(vec![1; 32])));
        sa.authentication = Some((Authentication::HmacSha512, Secret::new(vec![2; 64])));
    } else {
        sa.encryption = Some((Encryption::AesGcm16, Secret::new(vec![1; 36])));
    }
}

fn outbound(d: &Dialect, spi: u32) -> SaSpec {
    let (us, peer) = (ip("192.0.2.1"), ip("198.51.100.7"));
    let mut sa = SaSpec::new(Protocol::Esp, Spi(spi), us, peer, Mode::Tunnel);
    sa.reqid = 7;
    keys(d, &mut sa);
    sa
}

fn larval(k: &mut Kernel, s: SocketId, d: &'static Dialect) -> SaId {
    let ask = GetSpi {
        protocol: Protocol::Esp,
        src: ip("198.51.100.7"),
        dst: ip("192.0.2.1"),
        range: None,
        mode: Mode::Tunnel,
        reqid: 7,
    };
    match ok(k, s, d, Request::GetSpi(ask)).remove(0).data {
        ReplyData::Sa(id) => id,
        other => panic!("{other:?}"),
    }
}

fn inbound(d: &Dialect, id: SaId) -> SaSpec {
    let mut sa = SaSpec::new(Protocol::Esp, id.spi, id.src, id.dst, Mode::Tunnel);
    sa.reqid = 7;
    keys(d, &mut sa);
    sa
}

fn flow() -> Flow {
    let selector = Selector::between(
        Prefix::new(ip("10.1.0.0"), 24).unwrap(),
        Prefix::new(ip("10.2.0.0"), 24).unwrap(),
    );
    let endpoints = Some((ip("192.0.2.1"), ip("198.51.100.7")));
    let transform = Transform {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: 7,
        endpoints,
        optional: false,
    };
    Flow::protect(Direction::Out, selector, transform)
}

#[test]
fn every_request_of_ours_is_taken() {
    for d in Dialect::all() {
        let (mut k, s) = kernel(d);
        ok(&mut k, s, d, Request::Register(Protocol::Esp));
        let id = larval(&mut k, s, d);
        let mut sa = inbound(d, id);
        sa.hard.add_seconds = 3600; // one limit alone
        sa.encap = Some(Encap { src_port: 33333, dst_port: 4500 });
        ok(&mut k, s, d, Request::Update(Box::new(sa)));
        let out = outbound(d, 0x1234_5678);
        ok(&mut k, s, d, Request::Add(Box::new(out.clone())));
        let told = ok(&mut k, s, d, Request::Get(out.id())).remove(0);
        let ReplyData::SaInfo(info) = told.data else { panic!("{}: {told:?}", d.name) };
        assert_eq!(info.id.spi, out.spi);
        assert_eq!(info.mode, Some(Mode::Tunnel), "{}", d.name);
        assert_eq!(info.encryption_key.unwrap(), out.encryption.unwrap().1);
        ok(&mut k, s, d, Request::AddFlow(Box::new(flow())));
        ok(&mut k, s, d, Request::AddFlow(Box::new(flow())));
        assert_eq!(k.flow_count(), 1, "{}", d.name);
        let inward = Flow {
            direction: Direction::In,
            kind: FlowKind::Bypass,
            transforms: Vec::new(),
            ..flow()
        };
        ok(&mut k, s, d, Request::AddFlow(Box::new(inward.clone())));
        ok(&mut k, s, d, Request::DeleteFlow(Box::new(inward)));
        ok(&mut k, s, d, Request::DeleteFlow(Box::new(flow())));
        let again = ask(&mut k, s, d, &Request::DeleteFlow(Box::new(flow())));
        assert!(d.behaviour.no_such_flow.contains(&again[0].errno), "{}: {again:?}", d.name);
        ok(&mut k, s, d, Request::Delete(id));
        let again = ask(&mut k, s, d, &Request::Delete(id));
        assert!(d.behaviour.no_such_sa.contains(&again[0].errno), "{}: {again:?}", d.name);
        ok(&mut k, s, d, Request::Flush(None));
        assert_eq!(k.sa_count(), 0, "{}", d.name);
    }
}

#[test]
fn a_larval_sa_vanishes_without_a_word() {
    for d in Dialect::all() {
        let (mut k, s) = kernel(d);
        let id = larval(&mut k, s, d);
        k.advance(u64::from(d.behaviour.larval_seconds) + 1);
        assert_eq!(k.sa_count(), 0, "{}", d.name);
        assert!(k.read(s).is_none());
        let late = ask(&mut k, s, d, &Request::Update(Box::new(inbound(d, id))));
        assert!(d.behaviour.no_such_sa.contains(&late[0].errno), "{}: {late:?}", d.name);
    }
}

#[test]
fn an_empty_dump_ends_somehow() {
    for d in Dialect::all() {
        let (mut k, s) = kernel(d);
        let replies = ask(&mut k, s, d, &Request::Dump(None));
        match d.behaviour.empty_dump {
            EmptyDump::Silence => assert!(replies.is_empty(), "{}", d.name),
            EmptyDump::Errno(errno) => assert_eq!(replies[0].errno, errno, "{}", d.name),
        }
        for spi in [0x1000, 0x2000, 0x3000] {
            ok(&mut k, s, d, Request::Add(Box::new(outbound(d, spi))));
        }
        let replies = ask(&mut k, s, d, &Request::Dump(None));
        assert_eq!(replies.len(), 3);
        assert_eq!(replies[2].seq, 0, "{}: the last one is numbered 0", d.name);
    }
}

#[test]
fn spi_ranges_that_fail_or_panic_are_not_asked_for() {
    let range = |range| {
        Request::GetSpi(GetSpi {
            protocol: Protocol::Esp,
            src: ip("198.51.100.7"),
            dst: ip("192.0.2.1"),
            range: Some(range),
            mode: Mode::Tunnel,
            reqid: 7,
        })
    };
    for d in Dialect::all() {
        assert!(d.compose(&range((0, u32::MAX)), 1, PID).is_err(), "{}", d.name);
        assert!(d.compose(&range((1, 255)), 1, PID).is_err(), "{}", d.name);
        assert!(d.compose(&range((0x2000, 0x1000)), 1, PID).is_err(), "{}", d.name);
    }
    assert!(dialect("freebsd").compose(&range((0x1000, 0x1000)), 1, PID).is_err());
    assert!(dialect("netbsd").compose(&range((0x1000, 0x1000)), 1, PID).is_ok());
    assert!(dialect("openbsd").compose(&range((0x1000, u32::MAX)), 1, PID).is_ok());
}

#[test]
fn netbsd_says_enobufs_and_has_done_it() {
    let d = dialect("netbsd");
    assert!(d.behaviour.enobufs_may_be_done);
    let (mut k, s) = kernel(d);
    let other = k.open(1);
    k.set_room(other, 64);
    let sa = outbound(d, 0x1000);
    let packets = d.compose(&Request::Add(Box::new(sa.clone())), 1, PID).unwrap();
    assert_eq!(k.write(s, &packets[0]), Err(55));
    assert!(k.read(s).is_none());
    // The sender alone hears this one, and it shows that the SA is there.
    ok(&mut k, s, d, Request::Get(sa.id()));
}

#[test]
fn netbsd_deletes_at_the_soft_limit_what_was_not_used() {
    let d = dialect("netbsd");
    assert!(d.behaviour.soft_deletes_unused && !d.behaviour.hard_expire_told);
    let (mut k, s) = kernel(d);
    ok(&mut k, s, d, Request::Register(Protocol::Esp));
    for spi in [0x1000, 0x2000] {
        let mut sa = outbound(d, spi);
        sa.soft.add_seconds = 10;
        sa.hard.add_seconds = 20;
        ok(&mut k, s, d, Request::Add(Box::new(sa)));
    }
    k.packet(0x2000, 100);
    k.advance(12);
    assert_eq!(k.sa_count(), 1);
    let told = d.interpret(&k.read(s).unwrap()).unwrap();
    let Incoming::Expire(expire) = told else { panic!("{told:?}") };
    assert_eq!((expire.hard, expire.sa.id.spi), (false, Spi(0x2000)));
    assert_eq!(expire.sa.state, SaState::Dying);
    k.advance(12);
    assert_eq!(k.sa_count(), 0);
    assert!(k.read(s).is_none(), "the hard limit is not told");
}

#[test]
fn soft_and_hard_limits_are_told_elsewhere() {
    for d in Dialect::all().into_iter().filter(|d| d.behaviour.hard_expire_told) {
        let (mut k, s) = kernel(d);
        ok(&mut k, s, d, Request::Register(Protocol::Esp));
        let mut sa = outbound(d, 0x1000);
        sa.soft.add_seconds = 10;
        sa.hard.add_seconds = 20;
        ok(&mut k, s, d, Request::Add(Box::new(sa)));
        k.advance(25);
        for hard in [false, true] {
            let told = d.interpret(&k.read(s).unwrap()).unwrap();
            let Incoming::Expire(expire) = told else { panic!("{told:?}") };
            assert_eq!((expire.hard, expire.sa.id.spi), (hard, Spi(0x1000)), "{}", d.name);
        }
        assert_eq!(k.sa_count(), 0);
    }
}

#[test]
fn update_needs_the_pid_of_getspi() {
    for d in Dialect::all() {
        let (mut k, s) = kernel(d);
        let id = larval(&mut k, s, d);
        let other = k.open(PID + 1);
        let update = Request::Update(Box::new(inbound(d, id)));
        let packets = d.compose(&update, 1, PID + 1).unwrap();
        k.write(other, &packets[0]).unwrap();
        let told = d.interpret(&k.read(other).unwrap()).unwrap();
        let Incoming::Reply(reply) = told else { panic!("{told:?}") };
        assert_eq!(reply.errno != 0, d.behaviour.update_same_pid, "{}", d.name);
    }
}

#[test]
fn openbsd_wants_the_pid_of_the_writer() {
    let d = dialect("openbsd");
    let (mut k, s) = kernel(d);
    let packets = d.compose(&Request::Register(Protocol::Esp), 1, PID + 1).unwrap();
    assert_eq!(k.write(s, &packets[0]), Err(22));
}

#[test]
fn openbsd_does_not_list_what_it_can() {
    let d = dialect("openbsd");
    let (mut k, s) = kernel(d);
    let reply = ok(&mut k, s, d, Request::Register(Protocol::Esp)).remove(0);
    let ReplyData::Capabilities(can) = reply.data else { panic!("{reply:?}") };
    for octets in [20, 28, 36] {
        assert!(can.encrypts(Encryption::AesGcm16, octets));
    }
    assert!(can.encrypts(Encryption::ChaCha20Poly1305, 36) && can.esn);
    assert!(can.authenticates(Authentication::HmacSha256));
    assert_eq!(can.compression, [Compression::Deflate]);
}

#[test]
fn capabilities_count_the_salt_and_doubt_esn() {
    for name in ["freebsd", "netbsd", "linux"] {
        let d = dialect(name);
        let (mut k, s) = kernel(d);
        let reply = ok(&mut k, s, d, Request::Register(Protocol::Esp)).remove(0);
        let ReplyData::Capabilities(can) = reply.data else { panic!("{reply:?}") };
        assert!(can.encrypts(Encryption::AesCtr, 20) && can.encrypts(Encryption::AesCtr, 36));
        assert!(!can.encrypts(Encryption::AesCtr, 16), "{name}");
        assert_eq!(can.encrypts(Encryption::AesGcm16, 36), name != "linux");
        assert_eq!(can.authenticates(Authentication::HmacSha256), name != "linux");
        // No ChaCha20-Poly1305 here: a FreeBSD before 13, which takes the flag and ignores it.
        assert!(!can.esn, "{name}");
    }
}

#[test]
fn algorithms_that_do_not_interoperate_are_refused_by_name() {
    let d = dialect("linux");
    let mut sa = outbound(d, 0x1000);
    sa.authentication = Some((Authentication::HmacSha256, Secret::new(vec![2; 32])));
    let refused = d.compose(&Request::Add(Box::new(sa.clone())), 1, PID);
    assert_eq!(refused, Err(ComposeError::Authentication(Authentication::HmacSha256)));
    sa.authentication = None;
    sa.encryption = Some((Encryption::ChaCha20Poly1305, Secret::new(vec![1; 36])));
    let refused = d.compose(&Request::Add(Box::new(sa)), 1, PID);
    assert_eq!(refused, Err(ComposeError::Encryption(Encryption::ChaCha20Poly1305)));
}

#[test]
fn reqids_stay_where_kernels_keep_them() {
    let mut wide = flow();
    wide.transforms[0].reqid = 0x4000;
    let request = Request::AddFlow(Box::new(wide));
    for d in Dialect::all() {
        let fits = d.compose(&request, 1, PID).is_ok();
        assert_eq!(fits, d.behaviour.reqid_max > 0x4000, "{}", d.name);
    }
}

#[test]
fn delflow_is_not_given_what_it_refuses() {
    let d = dialect("openbsd");
    let packets = d.compose(&Request::DeleteFlow(Box::new(flow())), 1, PID).unwrap();
    let m = Message::parse(d, &packets[0]).unwrap();
    assert_eq!(m.get(ExtType::AddressDst), None);
    let packets = d.compose(&Request::AddFlow(Box::new(flow())), 1, PID).unwrap();
    assert!(Message::parse(d, &packets[0]).unwrap().get(ExtType::AddressDst).is_some());
}

#[test]
fn answers_to_others_are_told_apart() {
    for d in Dialect::all() {
        let (mut k, s) = kernel(d);
        let other = k.open(PID + 1);
        let packets = d.compose(&Request::Add(Box::new(outbound(d, 0x1000))), 9, PID + 1).unwrap();
        k.write(other, &packets[0]).unwrap();
        let told = d.interpret(&k.read(s).expect("told to all")).unwrap();
        let Incoming::Reply(reply) = told else { panic!("{told:?}") };
        assert!(!reply.answers(PID, 9) && reply.answers(PID + 1, 9), "{}", d.name);
    }
}

#[test]
fn openbsd_takes_tags_interfaces_and_rdomains() {
    let d = dialect("openbsd");
    let (mut k, s) = kernel(d);
    let mut sa = outbound(d, 0x1000);
    sa.tag = Some("vpn".to_owned());
    sa.tap = Some(3);
    sa.iface = Some(Iface { unit: 1, direction: Direction::Out });
    sa.rdomain = Some((0, 0));
    sa.selector = Some(flow().selector);
    sa.identities = Some((
        Identity { kind: IdentityKind::Fqdn, name: "us.example".to_owned() },
        Identity { kind: IdentityKind::UserFqdn, name: "peer@example.org".to_owned() },
    ));
    sa.encap = Some(Encap { src_port: 4500, dst_port: 33333 });
    ok(&mut k, s, d, Request::Add(Box::new(sa.clone())));
    let told = ok(&mut k, s, d, Request::Get(sa.id())).remove(0);
    let ReplyData::SaInfo(info) = told.data else { panic!("{told:?}") };
    assert_eq!((info.tag, info.tap, info.iface), (sa.tag, sa.tap, sa.iface));
    assert_eq!((info.rdomain, info.selector), (sa.rdomain, sa.selector));
    assert_eq!(info.encap.map(|e| e.dst_port), Some(33333));
    let (src, dst) = sa.identities.unwrap();
    assert_eq!(info.identities, (Some(src), Some(dst)));
    for name in ["freebsd", "netbsd", "linux"] {
        let mut sa = outbound(dialect(name), 0x1000);
        sa.tag = Some("vpn".to_owned());
        let refused = dialect(name).compose(&Request::Add(Box::new(sa)), 1, PID);
        assert!(matches!(refused, Err(ComposeError::Unsupported(_))), "{name}");
    }
}

#[test]
fn sockets_of_ike_pass_by_all_flows() {
    for d in Dialect::all() {
        for v6 in [false, true] {
            let options = d.bypass_options(v6);
            match d.name {
                "openbsd" => {
                    assert_eq!(options.len(), 4);
                    assert!(options.iter().all(|o| o.value == 0i32.to_ne_bytes()));
                }
                _ => {
                    let [inward, outward] = &options[..] else { panic!("{options:?}") };
                    assert_eq!((inward.value.len(), outward.value.len()), (16, 16));
                    assert_eq!(inward.value[4..7], [4, 0, 1]); // bypass, in
                    assert_eq!(outward.value[4..7], [4, 0, 2]); // bypass, out
                }
            }
        }
    }
    assert_eq!(dialect("openbsd").udp_encap_option(), None);
    assert_eq!(dialect("freebsd").udp_encap_option().map(|o| o.name), Some(1));
    assert_eq!(dialect("netbsd").udp_encap_option().map(|o| o.name), Some(100));
}

#[test]
fn keys_are_not_printed() {
    for d in Dialect::all() {
        let sa = outbound(d, 0x1000);
        let packets = d.compose(&Request::Add(Box::new(sa.clone())), 1, PID).unwrap();
        let m = Message::parse(d, &packets[0]).unwrap();
        for text in [format!("{sa:?}"), format!("{m:?}"), format!("{:?}", packets[0])] {
            assert!(!text.contains("1, 1, 1") && !text.contains("01010101"), "{text}");
        }
    }
}

#[test]
fn sas_and_flows_are_printed_in_ipsecctls_manner() {
    let d = dialect("openbsd");
    let (mut k, s) = kernel(d);
    let mut sa = outbound(d, 0xdead_beef);
    sa.encryption = Some((Encryption::AesCbc, Secret::new(vec![0xee; 16])));
    sa.authentication = Some((Authentication::HmacSha1, Secret::new(vec![0xaa; 20])));
    ok(&mut k, s, d, Request::Add(Box::new(sa.clone())));
    let told = ok(&mut k, s, d, Request::Get(sa.id())).remove(0);
    let ReplyData::SaInfo(info) = told.data else { panic!("{told:?}") };
    let line =
        "esp tunnel from 192.0.2.1 to 198.51.100.7 spi 0xdeadbeef auth hmac-sha1 enc aes-128";
    assert_eq!(print::sa(&info, false), line);
    let keys =
        format!("{line} \\\n\tauthkey 0x{} \\\n\tenckey 0x{}", "aa".repeat(20), "ee".repeat(16));
    assert_eq!(print::sa(&info, true), keys);
    for (d, extra) in Dialect::all().into_iter().map(|d| (d, "local 192.0.2.1 peer 198.51.100.7")) {
        let (mut k, s) = kernel(d);
        let mut web = flow();
        web.selector.protocol = 6;
        web.selector.dst_port = Port::exactly(80);
        let told = ok(&mut k, s, d, Request::AddFlow(Box::new(web))).remove(0);
        let ReplyData::Flow(info) = told.data else { panic!("{told:?}") };
        assert_eq!(
            print::flow(&info),
            format!(
                "flow esp out proto tcp from 10.1.0.0/24 to 10.2.0.0/24 port 80 {extra} type require"
            )
        );
    }
}
