#![no_main]
//! Whatever is written to the scripted kernels: they answer or refuse, and what they say is read.

use pfkey::Dialect;
use pfkey::scripted::Kernel;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Some((which, octets)) = octets.split_first() else { return };
    let dialect = Dialect::all()[usize::from(*which) % 4];
    let mut kernel = Kernel::new(dialect);
    kernel.enable_ipcomp();
    let socket = kernel.open(1);
    for piece in pfkey::message::split(octets).take(16) {
        // A process id that is right, for OpenBSD does not listen to others.
        let mut message = piece.to_vec();
        if let Some(pid) = message.get_mut(12..16) {
            pid.copy_from_slice(&1u32.to_ne_bytes());
        }
        let _ = kernel.write(socket, &message);
        while let Some(said) = kernel.read(socket) {
            let _ = dialect.interpret(&said);
        }
        kernel.advance(1);
    }
});
