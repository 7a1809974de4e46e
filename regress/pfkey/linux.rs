//! Our requests put to a real Linux kernel: run as root where the kernel has PF_KEY, with
//! PFKEY_LIVE=1 in the environment (regress/README tells how to boot one). Skipped otherwise.

use pfkey::*;
use std::time::{Duration, Instant};

struct Kernel {
    dialect: &'static Dialect,
    socket: Socket,
    seq: u32,
}

impl Kernel {
    fn open() -> Option<Kernel> {
        if std::env::var_os("PFKEY_LIVE").is_none() {
            eprintln!("skipped: PFKEY_LIVE is not set");
            return None;
        }
        let dialect = Dialect::native();
        Some(Kernel { dialect, socket: Socket::open().expect("PF_KEY"), seq: 0 })
    }

    /// All answers to one request, one for each message it became.
    fn ask(&mut self, request: &Request) -> Vec<Reply> {
        let pid = std::process::id();
        self.seq += 10;
        let packets = self.dialect.compose(request, self.seq, pid).expect("composes");
        let mut replies = Vec::new();
        for (packet, seq) in packets.iter().zip(self.seq..) {
            self.socket.send(packet).expect("written");
            match self.next(|incoming| match incoming {
                Incoming::Reply(r) if r.answers(pid, seq) => Some(r.clone()),
                _ => None,
            }) {
                Some(reply) => replies.push(reply),
                None => panic!("no answer to {request:?}"),
            }
        }
        replies
    }

    fn next<T>(&mut self, want: impl Fn(&Incoming) -> Option<T>) -> Option<T> {
        let end = Instant::now() + Duration::from_secs(5);
        let mut buffer = vec![0; socket::MESSAGE_MAX];
        while Instant::now() < end {
            let Some(octets) = self.socket.recv(&mut buffer).expect("read") else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let incoming = self.dialect.interpret(octets).expect("understood");
            let m = Message::parse(self.dialect, octets).expect("parsed");
            assert_eq!(&m.emit()[..], octets, "written back: {m:?}");
            if let Some(found) = want(&incoming) {
                return Some(found);
            }
        }
        None
    }

    fn ok(&mut self, request: Request) -> Vec<Reply> {
        let replies = self.ask(&request);
        for reply in &replies {
            assert_eq!(reply.errno, 0, "{request:?}");
        }
        replies
    }
}

fn pair(v6: bool) -> (std::net::IpAddr, std::net::IpAddr) {
    if v6 {
        ("fd07::1".parse().unwrap(), "fd07::9".parse().unwrap())
    } else {
        ("10.7.0.1".parse().unwrap(), "10.7.0.9".parse().unwrap())
    }
}

#[test]
fn a_real_linux_takes_what_we_ask() {
    let Some(mut kernel) = Kernel::open() else { return };
    if kernel.dialect.name != "linux" {
        return;
    }
    let reply = kernel.ok(Request::Register(Protocol::Esp)).remove(0);
    let ReplyData::Capabilities(can) = reply.data else { panic!("{reply:?}") };
    assert!(can.encrypts(Encryption::AesCbc, 32) && !can.encrypts(Encryption::AesGcm16, 36));
    assert!(can.authenticates(Authentication::HmacSha256Cut96));
    assert!(!can.authenticates(Authentication::HmacSha256) && !can.esn);
    assert!(can.encrypts(Encryption::AesCtr, 36) && !can.encrypts(Encryption::AesCtr, 16));
    for v6 in [false, true] {
        sas(&mut kernel, v6);
        flows(&mut kernel, v6);
    }
    assert_eq!(kernel.ask(&Request::Dump(None))[0].errno, 2);
}

fn sas(kernel: &mut Kernel, v6: bool) {
    let (us, peer) = pair(v6);
    let ask = GetSpi {
        protocol: Protocol::Esp,
        src: peer,
        dst: us,
        range: None,
        mode: Mode::Tunnel,
        reqid: 7,
    };
    let reply = kernel.ok(Request::GetSpi(ask)).remove(0);
    let ReplyData::Sa(id) = reply.data else { panic!("{reply:?}") };
    assert_eq!((id.src, id.dst), (peer, us));
    let mut sa = SaSpec::new(Protocol::Esp, id.spi, peer, us, Mode::Tunnel);
    sa.reqid = 7;
    sa.encryption = Some((Encryption::AesCbc, Secret::new(vec![1; 32])));
    sa.authentication = Some((Authentication::HmacSha512, Secret::new(vec![2; 64])));
    sa.hard.add_seconds = 3600;
    sa.soft.add_seconds = 3000;
    sa.hard.bytes = 1 << 40;
    kernel.ok(Request::Update(Box::new(sa.clone())));
    let reply = kernel.ok(Request::Get(id)).remove(0);
    let ReplyData::SaInfo(info) = reply.data else { panic!("{reply:?}") };
    assert_eq!(info.mode, Some(Mode::Tunnel));
    assert_eq!((info.reqid, info.state), (7, SaState::Mature));
    assert_eq!(info.encryption, Some(Encryption::AesCbc));
    assert_eq!(info.authentication, Some(Authentication::HmacSha512));
    assert_eq!(info.hard.map(|l| (l.add_seconds, l.bytes)), Some((3600, 1 << 40)));
    assert_eq!(info.soft.map(|l| l.add_seconds), Some(3000));
    assert_eq!(info.encryption_key.unwrap().expose(), [1; 32]);
    let mut out = SaSpec::new(Protocol::Esp, Spi(0x1000), us, peer, Mode::Transport);
    out.encryption = Some((Encryption::Null, Secret::default()));
    out.authentication = Some((Authentication::HmacSha1, Secret::new(vec![2; 20])));
    if !v6 {
        out.encap = Some(Encap { src_port: 4500, dst_port: 33333 });
    }
    kernel.ok(Request::Add(Box::new(out.clone())));
    if !v6 {
        let reply = kernel.ok(Request::Get(out.id())).remove(0);
        let ReplyData::SaInfo(info) = reply.data else { panic!("{reply:?}") };
        assert_eq!(info.encap, out.encap);
        assert_eq!(info.mode, Some(Mode::Transport));
    }
    let unknown = SaId { spi: Spi(0x7777), ..id };
    assert_eq!(kernel.ask(&Request::Get(unknown))[0].errno, 3);
    kernel.ok(Request::Delete(id));
    kernel.ok(Request::Delete(out.id()));
}

fn flows(kernel: &mut Kernel, v6: bool) {
    let (us, peer) = pair(v6);
    let (local, remote) = if v6 { ("fd01::", "fd02::") } else { ("10.1.0.0", "10.2.0.0") };
    let len = if v6 { 64 } else { 24 };
    let local = Prefix::new(local.parse().unwrap(), len).unwrap();
    let remote = Prefix::new(remote.parse().unwrap(), len).unwrap();
    let tunnel = |src, dst| Transform {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: 7,
        endpoints: Some((src, dst)),
        optional: false,
    };
    let outward = Flow::protect(Direction::Out, Selector::between(local, remote), tunnel(us, peer));
    let inward = Flow::protect(Direction::In, Selector::between(remote, local), tunnel(peer, us));
    let mut web = Selector::between(local, remote);
    web.protocol = 6;
    web.dst_port = Port::exactly(80);
    let bypass = Flow::plain(Direction::Out, FlowKind::Bypass, web);
    for flow in [&outward, &inward, &bypass] {
        let told = kernel.ok(Request::AddFlow(Box::new(flow.clone())));
        assert_eq!(told.len(), if flow.direction == Direction::In { 2 } else { 1 });
        // Twice is once.
        kernel.ok(Request::AddFlow(Box::new(flow.clone())));
    }
    // A dump's answers count down, so each is looked at by itself.
    let pid = std::process::id();
    let packets = kernel.dialect.compose(&Request::DumpFlows, 1, pid).unwrap();
    kernel.socket.send(&packets[0]).unwrap();
    let mut seen = Vec::new();
    loop {
        let info = kernel
            .next(|i| match i {
                Incoming::Reply(Reply { data: ReplyData::Flow(f), message, .. })
                    if *message == MessageType::SpdDump =>
                {
                    Some(f.clone())
                }
                _ => None,
            })
            .expect("an entry");
        let left = info.left;
        seen.push(info);
        if left == 0 {
            break;
        }
    }
    let ours: Vec<_> = seen.iter().filter(|f| !f.per_socket).collect();
    assert_eq!(ours.len(), 4, "{ours:?}");
    for flow in [&outward, &inward, &bypass] {
        assert!(ours.iter().any(|f| f.flow == *flow && !f.forward), "{flow:?} in {ours:?}");
    }
    assert!(ours.iter().any(|f| f.flow == inward && f.forward));
    let id = ours.iter().find(|f| f.flow == outward).unwrap().id;
    let reply = kernel.ok(Request::FlowOf(id)).remove(0);
    let ReplyData::Flow(told) = reply.data else { panic!("{reply:?}") };
    assert_eq!(told.flow, outward);
    for flow in [&outward, &inward, &bypass] {
        kernel.ok(Request::DeleteFlow(Box::new(flow.clone())));
        let again = kernel.ask(&Request::DeleteFlow(Box::new(flow.clone())));
        assert!(kernel.dialect.behaviour.no_such_flow.contains(&again[0].errno), "{again:?}");
    }
}

#[test]
fn a_packet_asks_and_a_lifetime_ends() {
    let Some(mut kernel) = Kernel::open() else { return };
    if kernel.dialect.name != "linux" {
        return;
    }
    let sh = |c: &str| std::process::Command::new("sh").arg("-c").arg(c).output().unwrap();
    sh(
        "ip link add d0 type veth peer name d1; ip link set d1 up; ip addr add 10.8.0.1/24 dev d0; ip link set d0 up",
    );
    let (us, peer): (std::net::IpAddr, std::net::IpAddr) =
        ("10.8.0.1".parse().unwrap(), "10.8.0.9".parse().unwrap());
    kernel.ok(Request::Register(Protocol::Esp));
    let selector = Selector::between(Prefix::host(us), Prefix::host(peer));
    let transform = Transform {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: 9,
        endpoints: Some((us, peer)),
        optional: false,
    };
    let flow = Flow::protect(Direction::Out, selector, transform);
    kernel.ok(Request::AddFlow(Box::new(flow.clone())));
    let udp = std::net::UdpSocket::bind((us, 0)).unwrap();
    let _ = udp.send_to(b"x", (peer, 9));
    let acquire = kernel
        .next(|i| match i {
            Incoming::Acquire(a) => Some(a.clone()),
            _ => None,
        })
        .expect("an ACQUIRE");
    assert_eq!((acquire.src, acquire.dst), (Some(us), peer));
    let reply = kernel.ok(Request::FlowOf(acquire.flow.unwrap())).remove(0);
    let ReplyData::Flow(told) = reply.data else { panic!("{reply:?}") };
    assert_eq!(told.flow, flow);
    let refusal = Request::AcquireFailed { seq: acquire.seq, protocol: Protocol::Esp, errno: 110 };
    for packet in kernel.dialect.compose(&refusal, 1, std::process::id()).unwrap() {
        kernel.socket.send(&packet).unwrap();
    }
    let mut sa = SaSpec::new(Protocol::Esp, Spi(0x4444), us, peer, Mode::Tunnel);
    sa.encryption = Some((Encryption::AesCbc, Secret::new(vec![1; 16])));
    sa.authentication = Some((Authentication::HmacSha384, Secret::new(vec![2; 48])));
    sa.soft.add_seconds = 1;
    sa.hard.add_seconds = 2;
    kernel.ok(Request::Add(Box::new(sa)));
    for hard in [false, true] {
        let expire = kernel
            .next(|i| match i {
                Incoming::Expire(e) => Some(e.clone()),
                _ => None,
            })
            .expect("an EXPIRE");
        assert_eq!((expire.hard, expire.sa.id.spi), (hard, Spi(0x4444)));
    }
    kernel.ok(Request::FlushFlows);
    kernel.ok(Request::Flush(None));
}
