//! pfkey-relay PATH [DIALECT]: a kernel behind a SOCK_SEQPACKET socket, for `oakd -K DIALECT:PATH`.
//!
//! With a dialect it is a scripted kernel of that dialect; `PATH.held` always tells what it holds.
//! Without one it is the PF_KEY of the host where this runs: bring the path to another host by what
//! carries records (socat SEQPACKET, a virtio port), and a daemon there is put on the kernel here.
//!
//! A record is a message. What write(2) refuses has no answer on a kernel; here it gets one, a bare
//! header with the errno, for the daemon sees no write(2) of ours. The process id in the header is
//! ours on the way to a real kernel, since OpenBSD insists, and the daemon's on the way back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use pfkey::scripted::{Kernel, SocketId};
use pfkey::socket::MESSAGE_MAX;
use pfkey::{Dialect, Incoming, Reply, ReplyData, Request, Socket, print};

/// Where errno, length and process id stand in a header (RFC 2367 section 2.1).
const ERRNO: usize = 2;
const LENGTH: std::ops::Range<usize> = 4..6;
const PID: std::ops::Range<usize> = 12..16;
const HEADER: usize = 16;
/// A process id that no daemon has: whoever looks at what is held.
const ONLOOKER: u32 = u32::MAX;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [path] => serve(Path::new(path), None),
        [path, dialect] => match Dialect::by_name(dialect) {
            Some(dialect) => serve(Path::new(path), Some(dialect)),
            None => Err(io::Error::other(format!("no dialect is called {dialect}"))),
        },
        _ => Err(io::Error::other("usage: pfkey-relay path [dialect]")),
    };
    if let Err(error) = outcome {
        eprintln!("pfkey-relay: {error}");
        std::process::exit(1);
    }
}

/// A daemon that is connected.
struct Client {
    stream: UnixStream,
    /// Who it last said it was.
    pid: u32,
    way: Way,
}

/// Its way to the kernel.
enum Way {
    /// A socket of its own.
    Real(Box<Socket>),
    /// A socket for each process that speaks over the connection: it may be started again.
    Scripted(BTreeMap<u32, SocketId>),
}

fn listener(path: &Path) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(8)?)?;
    let listener = UnixListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until it fails.
pub fn serve(path: &Path, dialect: Option<&'static Dialect>) -> io::Result<()> {
    let listener = listener(path)?;
    let mut scripted = dialect.map(|dialect| Scripted::new(path, dialect));
    let mut clients: Vec<Client> = Vec::new();
    loop {
        wait(&listener, &clients)?;
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            let way = match dialect {
                Some(_) => Way::Scripted(BTreeMap::new()),
                None => Way::Real(Box::new(Socket::open()?)),
            };
            clients.push(Client { stream, pid: 0, way });
        }
        clients.retain_mut(|client| client.ask_kernel(scripted.as_mut()).is_ok());
        scripted.iter_mut().for_each(Scripted::pass);
        clients.retain_mut(|client| client.tell_daemon(scripted.as_mut()).is_ok());
        scripted.iter_mut().try_for_each(Scripted::tell)?;
    }
}

/// Until somebody has something to say, or it is time to look at the clock.
fn wait(listener: &UnixListener, clients: &[Client]) -> io::Result<()> {
    let mut all = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    for client in clients {
        all.push(PollFd::new(client.stream.as_fd(), PollFlags::POLLIN));
        if let Way::Real(socket) = &client.way {
            all.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        }
    }
    match poll(&mut all, PollTimeout::from(100u8)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What read(2) or write(2) on a socket that does not wait comes to.
fn now_or_never(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client {
    /// Takes what the daemon says to the kernel.
    fn ask_kernel(&mut self, mut scripted: Option<&mut Scripted>) -> io::Result<()> {
        let mut room = vec![0; MESSAGE_MAX];
        while let Some(len) = now_or_never(self.stream.read(&mut room))? {
            let message = &mut room[..len];
            let Some(pid) = message.get(PID).and_then(|pid| pid.try_into().ok()) else { continue };
            self.pid = u32::from_ne_bytes(pid);
            let errno = match (&mut self.way, &mut scripted) {
                (Way::Scripted(sockets), Some(scripted)) => {
                    let kernel = &mut scripted.kernel;
                    let socket = *sockets.entry(self.pid).or_insert_with(|| kernel.open(self.pid));
                    scripted.kernel.write(socket, message).err()
                }
                (Way::Real(socket), _) => {
                    message[PID].copy_from_slice(&std::process::id().to_ne_bytes());
                    nix::unistd::write(socket, message).err().map(|error| error as u8)
                }
                (Way::Scripted(_), None) => None,
            };
            if let Some(errno) = errno {
                let mut refusal = message[..HEADER].to_vec();
                refusal[ERRNO] = errno;
                refusal[LENGTH].copy_from_slice(&((HEADER / 8) as u16).to_ne_bytes());
                refusal[PID].copy_from_slice(&self.pid.to_ne_bytes());
                now_or_never(self.stream.write(&refusal))?;
            }
        }
        Ok(())
    }

    /// Takes what the kernel says to the daemon.
    fn tell_daemon(&mut self, scripted: Option<&mut Scripted>) -> io::Result<()> {
        match (&mut self.way, scripted) {
            (Way::Scripted(sockets), Some(scripted)) => {
                for (pid, socket) in sockets {
                    while let Some(packet) = scripted.kernel.read(*socket) {
                        // What is for a process that was before is nobody's.
                        if *pid == self.pid {
                            now_or_never(self.stream.write(&packet))?;
                        }
                    }
                }
            }
            (Way::Real(socket), _) => {
                let mut room = vec![0; MESSAGE_MAX];
                let ours = std::process::id().to_ne_bytes();
                while let Some(len) = socket.recv(&mut room)?.map(<[u8]>::len) {
                    let message = &mut room[..len];
                    if message.get(PID) == Some(&ours) {
                        message[PID].copy_from_slice(&self.pid.to_ne_bytes());
                    }
                    now_or_never(self.stream.write(message))?;
                }
            }
            (Way::Scripted(_), None) => (),
        }
        Ok(())
    }
}

/// A scripted kernel, and the file that tells what it holds.
struct Scripted {
    dialect: &'static Dialect,
    kernel: Kernel,
    onlooker: SocketId,
    begun: Instant,
    seconds: u64,
    path: PathBuf,
    told: String,
}

impl Scripted {
    fn new(path: &Path, dialect: &'static Dialect) -> Self {
        let mut kernel = Kernel::new(dialect);
        kernel.enable_ipcomp();
        let onlooker = kernel.open(ONLOOKER);
        let mut name = path.as_os_str().to_owned();
        name.push(".held");
        let (begun, told) = (Instant::now(), "-".to_owned());
        Self { dialect, kernel, onlooker, begun, seconds: 0, path: name.into(), told }
    }

    /// Lets time pass in the kernel as it does here.
    fn pass(&mut self) {
        let seconds = self.begun.elapsed().as_secs();
        self.kernel.advance(seconds - self.seconds);
        self.seconds = seconds;
    }

    /// Writes what the kernel holds, if that is something else than before.
    fn tell(&mut self) -> io::Result<()> {
        while self.kernel.read(self.onlooker).is_some() {}
        for packet in self.dialect.compose(&Request::Dump(None), 1, ONLOOKER).unwrap_or_default() {
            let _ = self.kernel.write(self.onlooker, &packet);
        }
        let mut text = String::new();
        while let Some(packet) = self.kernel.read(self.onlooker) {
            if let Ok(Incoming::Reply(Reply { data: ReplyData::SaInfo(info), .. })) =
                self.dialect.interpret(&packet)
                && info.state != pfkey::SaState::Larval
            {
                let _ = writeln!(text, "{}", print::sa(&info, false));
            }
        }
        let _ = writeln!(text, "{} flows", self.kernel.flow_count());
        if text != self.told {
            // Never half written for whoever looks.
            let draft = self.path.with_extension("draft");
            std::fs::write(&draft, &text)?;
            std::fs::rename(&draft, &self.path)?;
            self.told = text;
        }
        Ok(())
    }
}
