//! What PF_KEY costs: an SADB_ADD with everything on it composed and read, 100 000 dumped SAs
//! read, and how often memory is allocated for one message.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use pfkey::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// An SA with as much on it as the dialect takes.
fn everything(dialect: &Dialect) -> SaSpec {
    let (us, peer) = ("2001:db8::1".parse().unwrap(), "2001:db8:ffff::9".parse().unwrap());
    let mut sa = SaSpec::new(Protocol::Esp, Spi(0x1234_5678), us, peer, Mode::Tunnel);
    sa.reqid = 7;
    sa.encryption = Some((Encryption::AesCbc, Secret::new(vec![1; 32])));
    sa.authentication = Some((Authentication::HmacSha512, Secret::new(vec![2; 64])));
    sa.soft = Lifetime { allocations: 0, bytes: 1 << 30, add_seconds: 3000, use_seconds: 0 };
    sa.hard = Lifetime { allocations: 0, bytes: 1 << 31, add_seconds: 3600, use_seconds: 0 };
    sa.encap = Some(Encap { src_port: 4500, dst_port: 33333 });
    if dialect.name == "openbsd" {
        let block = Prefix::new("2001:db8:1::".parse().unwrap(), 48).unwrap();
        sa.selector = Some(Selector::between(block, block));
        let name = |name: &str| Identity { kind: IdentityKind::Fqdn, name: name.to_owned() };
        sa.identities = Some((name("gateway.example.org"), name("peer.example.net")));
        sa.tag = Some("vpn-example".to_owned());
        sa.tap = Some(1);
        sa.rdomain = Some((0, 0));
    }
    sa
}

/// Runs something `times` and gives messages per second and allocations per message.
fn measure(times: usize, mut what: impl FnMut()) -> (f64, f64) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let start = Instant::now();
    for _ in 0..times {
        what();
    }
    let seconds = start.elapsed().as_secs_f64();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    (times as f64 / seconds, allocations as f64 / times as f64)
}

fn main() {
    println!("{:<10} {:<26} {:>14} {:>14}", "dialect", "what", "messages/s", "allocations");
    for dialect in Dialect::all() {
        let request = Request::Add(Box::new(everything(dialect)));
        let print = |what: &str, (speed, allocations): (f64, f64)| {
            println!("{:<10} {what:<26} {speed:>14.0} {allocations:>14.2}", dialect.name);
        };
        let packet = dialect.compose(&request, 1, 2).unwrap().remove(0);
        print(
            "ADD composed",
            measure(100_000, || {
                black_box(dialect.compose(black_box(&request), 1, 2).unwrap());
            }),
        );
        print(
            "ADD read, every extension",
            measure(100_000, || {
                let m = Message::parse(dialect, black_box(&packet)).unwrap();
                for ext in m.extensions() {
                    black_box(ext);
                }
            }),
        );
        let all: Vec<u8> = (0..100_000).flat_map(|_| packet.to_vec()).collect();
        let mut read = 0;
        let (dumps, allocations) = measure(1, || {
            read = message::split(&all)
                .map(|one| Message::parse(dialect, one).unwrap())
                .filter(|m| m.get(ExtType::Sa).is_some())
                .count();
        });
        assert_eq!(read, 100_000);
        let each = (dumps * read as f64, allocations / read as f64);
        print("100 000 SAs of a dump read", each);
        print(
            "interpreted",
            measure(50_000, || {
                black_box(dialect.interpret(black_box(&packet)).unwrap());
            }),
        );
    }
}
