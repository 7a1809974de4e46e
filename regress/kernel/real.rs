//! The same kernel side on a real kernel: whatever PF_KEY this host has. Without PF_KEY, or without
//! the right to open it, the case says so and is skipped; `regress/live/uml-run` gives it one.

use std::time::{Duration, Instant};

use oakd::conf::SaProtocol;
use oakd::ike::event::{
    Capabilities, Cpi, Direction, Input, KernelAnswer, KernelFlow, KernelRequest, KernelSa,
    RequestId, SaKey, SaMove, Time,
};
use oakd::kernel::{Kernel, PfKey};
use oakd::wire::EspSpi;
use oakd::wire::iana::v2::{EncryptionId, IntegrityId};
use pfkey::{Dialect, Socket};

use super::{flow, ip, key, outbound};

struct Real {
    kernel: Kernel<PfKey>,
    begun: Instant,
    id: u64,
    capabilities: Capabilities,
}

impl Real {
    fn open() -> Option<Self> {
        let socket = match Socket::open() {
            Ok(socket) => socket,
            Err(error) => {
                eprintln!("skipped: no PF_KEY on this host ({error})");
                return None;
            }
        };
        let kernel = Kernel::new(PfKey::new(socket, Dialect::native()));
        let begun = Instant::now();
        let mut real = Self { kernel, begun, id: 0, capabilities: Capabilities::default() };
        real.kernel.start(real.now());
        real.wait(|_| false, Duration::from_millis(300));
        Some(real)
    }

    fn now(&self) -> Time {
        Time::at(self.begun.elapsed())
    }

    /// Reads until an input is what is wanted.
    fn wait(&mut self, wanted: impl Fn(&Input<'_>) -> bool, most: Duration) -> bool {
        let end = Instant::now() + most;
        while Instant::now() < end {
            self.kernel.readable(self.now());
            while let Some(input) = self.kernel.poll() {
                if wanted(&input) {
                    return true;
                }
                if let Input::Capabilities(capabilities) = input {
                    self.capabilities = capabilities;
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn ask(&mut self, request: KernelRequest) -> KernelAnswer {
        self.id += 1;
        self.kernel.request(self.now(), RequestId(self.id), request);
        let (id, end) = (self.id, Instant::now() + Duration::from_secs(5));
        while Instant::now() < end {
            self.kernel.readable(self.now());
            while let Some(input) = self.kernel.poll() {
                match input {
                    Input::Kernel(owner, answer) if owner.0 == id => return answer,
                    _ => (),
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("no answer");
    }
}

#[test]
fn a_real_kernel_takes_what_we_ask() {
    let Some(mut real) = Real::open() else { return };
    let aes = real.capabilities.encryption.iter().find(|c| c.0 == EncryptionId::ENCR_AES_CBC);
    assert_eq!(aes.map(|c| c.1.as_slice()), Some(&[128, 192, 256][..]));
    assert!(real.capabilities.integrity.contains(&IntegrityId::AUTH_HMAC_SHA2_512_256));
    if Dialect::native().name == "linux" {
        let cut = IntegrityId::AUTH_HMAC_SHA2_256_128;
        assert!(!real.capabilities.integrity.contains(&cut));
        assert_eq!(real.capabilities.remarks.len(), 1);
    }

    let (us, them) = (ip("192.0.2.1"), ip("198.51.100.1"));
    let get = KernelRequest::GetSpi { protocol: SaProtocol::Esp, src: them, dst: us };
    let KernelAnswer::Spi(spi) = real.ask(get) else { panic!("GETSPI") };
    assert!(spi.0 > 255);
    let KernelRequest::AddSa(mut inbound) = outbound(spi.0) else { unreachable!() };
    inbound.direction = Direction::In;
    inbound.key = SaKey { protocol: SaProtocol::Esp, spi, src: them, dst: us };
    let inbound_key = inbound.key;
    assert_eq!(real.ask(KernelRequest::AddSa(inbound)), KernelAnswer::Done);
    assert_eq!(real.ask(outbound(0x1234_5678)), KernelAnswer::Done);
    for direction in [Direction::In, Direction::Out] {
        let flow = flow(direction);
        assert_eq!(real.ask(KernelRequest::AddFlow(Box::new(flow.clone()))), KernelAnswer::Done);
        let again = real.ask(KernelRequest::AddFlow(Box::new(flow)));
        assert_eq!(again, KernelAnswer::Done, "the same flow again");
    }
    let counters = real.ask(KernelRequest::QuerySa(key(0x1234_5678)));
    assert!(matches!(counters, KernelAnswer::Counters(c) if c.bytes == 0), "{counters:?}");
    let twice = real.ask(outbound(0x1234_5678));
    assert!(matches!(twice, KernelAnswer::Failed(_)), "{twice:?}");

    moves_and_compresses(&mut real);

    // A second run finds what the first one left, and takes it away.
    let mut second = Real::open().unwrap();
    second.kernel.sweep(second.now());
    second.wait(|_| false, Duration::from_millis(300));
    let gone = real.ask(KernelRequest::QuerySa(inbound_key));
    assert!(matches!(gone, KernelAnswer::Failed(_)), "{gone:?}");
    let unknown = SaKey { spi: EspSpi(0x1234_5678), ..key(0) };
    assert_eq!(real.ask(KernelRequest::DeleteSa(unknown)), KernelAnswer::Done, "gone already");
    for direction in [Direction::In, Direction::Out] {
        let flow = Box::new(flow(direction));
        assert_eq!(real.ask(KernelRequest::DeleteFlow(flow)), KernelAnswer::Done, "gone already");
    }
}

/// An SA moves with its flow, its counters kept where the kernel can; IPComp comes and goes with ESP.
fn moves_and_compresses(real: &mut Real) {
    let key = outbound_key();
    let here = KernelRequest::MoveSa(Box::new(SaMove {
        key,
        direction: Direction::Out,
        src: key.src,
        dst: ip("203.0.113.9"),
        encap: None,
        selector: Some(flow(Direction::Out).selector),
    }));
    let counts_on = Dialect::native().behaviour.moves != pfkey::Moves::Never;
    assert_eq!(real.ask(here), KernelAnswer::Moved { counts_on });
    let there = SaKey { dst: ip("203.0.113.9"), ..key };
    let counters = real.ask(KernelRequest::QuerySa(there));
    assert!(matches!(counters, KernelAnswer::Counters(_)), "{counters:?}");
    let back = |selector| {
        KernelRequest::MoveSa(Box::new(SaMove {
            key: there,
            direction: Direction::Out,
            src: key.src,
            dst: key.dst,
            encap: None,
            selector,
        }))
    };
    let again = real.ask(back(None));
    assert!(matches!(again, KernelAnswer::Moved { .. }), "{again:?}");

    let (src, dst) = (key.dst, key.src);
    let cpi = match real.ask(KernelRequest::GetCpi { src, dst }) {
        KernelAnswer::Cpi(cpi) => cpi,
        answer => return eprintln!("skipped: no IPComp here ({answer:?})"),
    };
    let dropped = KernelRequest::DropCpi { cpi, src, dst };
    assert_eq!(real.ask(dropped), KernelAnswer::Done);
    let KernelRequest::AddSa(sa) = outbound(0x1234_5679) else { unreachable!() };
    let sa = KernelSa { ipcomp: Some(Cpi(0x4321)), ..*sa };
    let key = sa.key;
    assert_eq!(real.ask(KernelRequest::AddSa(Box::new(sa))), KernelAnswer::Done);
    let flow = Box::new(KernelFlow { ipcomp: true, ..flow(Direction::In) });
    assert_eq!(real.ask(KernelRequest::AddFlow(flow)), KernelAnswer::Done);
    assert_eq!(real.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done);

    // A NAT's other port.
    let KernelRequest::AddSa(sa) = outbound(0x1234_567a) else { unreachable!() };
    let sa = KernelSa { encap: Some((4500, 4500)), ..*sa };
    let key = sa.key;
    assert_eq!(real.ask(KernelRequest::AddSa(Box::new(sa))), KernelAnswer::Done);
    let other = KernelRequest::MoveSa(Box::new(SaMove {
        key,
        direction: Direction::Out,
        src: key.src,
        dst: key.dst,
        encap: Some((4500, 61000)),
        selector: None,
    }));
    assert_eq!(real.ask(other), KernelAnswer::Moved { counts_on });
    assert_eq!(real.ask(KernelRequest::DeleteSa(key)), KernelAnswer::Done);
}

fn outbound_key() -> SaKey {
    key(0x1234_5678)
}
