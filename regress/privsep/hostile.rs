//! What comes to the control socket from whoever can open it, and what crosses links.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oakd::crypto::{Random, SeededRandom};
use oakd::proc::imsg::{self, Link};
use oakd::proc::message::{Down, MAX_REQUEST, Reply, Request, Show, Told, Up};
use oakd::wire::iana::v2::{EncryptionId, ExchangeType, GroupId, ProtocolId};
use oakd::wire::v2::*;
use oakd::wire::{Flags, Header, IkeSpi, MessageId, Spi};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::daemon::{Daemon, eventually};

/// Writes octets to the control socket and waits for the other side to close.
fn throw(daemon: &Daemon, octets: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(daemon.path("sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    // It may be closed before all is written.
    let _ = stream.write_all(octets);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("not closed: {error}"),
    }
}

#[test]
fn the_control_socket_is_roots_alone() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let mode = std::fs::metadata(daemon.path("sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn malformed_requests_are_refused_and_harm_nobody() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let before = daemon.children();
    let too_long = (MAX_REQUEST as u32 + 1).to_be_bytes();
    for octets in [
        &[0xff; 64][..],
        &[0, 0, 0, 1, 0, 0xff],
        &[0, 0, 0, 1, 7, 0],
        &[0, 0, 0, 0, 0],
        &[too_long[0], too_long[1], too_long[2], too_long[3], 0],
        // It claims a descriptor, and none comes.
        &[0, 0, 0, 1, 1, 3],
    ] {
        assert_eq!(throw(&daemon, octets), b"", "{octets:?}");
    }
    daemon.says("a control client was dropped: it sent");
    assert!(daemon.oakctl(&["show"]).status.success());
    assert_eq!(daemon.children(), before);
}

#[test]
fn clients_are_bounded_and_the_idle_are_dropped() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let idle: Vec<UnixStream> =
        (0..40).map(|_| UnixStream::connect(daemon.path("sock")).unwrap()).collect();
    let refused = daemon.oakctl(&["show"]);
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("control clients are connected already"), "{words}");
    drop(idle);
    let answered = eventually(|| daemon.oakctl(&["show"]).status.success().then_some(()));
    assert!(answered.is_some(), "{}", daemon.log());
}

#[test]
fn one_connection_is_one_request() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let stream = UnixStream::connect(daemon.path("sock")).unwrap();
    let mut link: Link<Request, Reply> = Link::new(stream.into()).unwrap();
    link.send(&Request::Monitor { watch: Default::default(), whom: None }).unwrap();
    link.send(&Request::Show(Show::Stats)).unwrap();
    let end = eventually(|| link.recv().err());
    assert!(matches!(end, Some(imsg::Error::Closed)), "{end:?}");
}

/// Feeds changed copies of a frame to a link: it takes them or refuses them, and never more.
fn mutate<S, R>(messages: &[S], random: &mut dyn Random)
where
    S: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    let mut frames = Vec::new();
    for message in messages {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link: Link<S, R> = Link::new(ours.into()).unwrap();
        link.send(message).unwrap();
        drop(link);
        let mut frame = Vec::new();
        theirs.read_to_end(&mut frame).unwrap();
        frames.push(frame);
    }
    for round in 0..2000 {
        let mut octets = frames[round % frames.len()].clone();
        let mut dice = [0; 8];
        random.fill(&mut dice);
        let at = usize::from(dice[0]) % octets.len();
        match dice[1] % 4 {
            0 => octets[at] ^= dice[2] | 1,
            1 => octets.truncate(at),
            2 => octets.insert(at, dice[2]),
            _ => octets.extend_from_slice(&dice[2..]),
        }
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&octets).unwrap();
        drop(ours);
        let mut link: Link<R, S> = Link::with_limit(theirs.into(), MAX_REQUEST).unwrap();
        let mut taken = 0;
        while let Ok(Some(_)) = link.recv() {
            taken += 1;
        }
        assert!(taken <= octets.len() / 5, "more messages than frames fit");
    }
}

#[test]
fn changed_frames_are_taken_or_refused() {
    let mut random = SeededRandom::new(2);
    let requests = [
        Request::Show(Show::Sas),
        Request::Reload,
        Request::Command(oakd::ike::event::Command::ResetId("somebody.example".into())),
    ];
    mutate::<Request, Reply>(&requests, &mut random);
    let line = oakd::log::Line { level: oakd::log::Level::Info, text: "a line".into() };
    mutate::<Up, Down>(&[Up::Log(line), Up::SecretsHeld, Up::Finished], &mut random);
    let id = oakd::proc::message::ClientId(7);
    mutate::<Told, Up>(&[Told::Pause(id), Told::Reply(id, Reply::Done("ok".into()))], &mut random);
}

/// Whoever knocks without end does not fill the log.
#[test]
fn a_flood_of_openings_that_nobody_wants_leaves_a_few_lines() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let transforms = vec![Transform::Encr { id: EncryptionId::ENCR_AES_CBC, key_bits: Some(128) }];
    let (number, protocol) = (1, ProtocolId::IKE);
    let proposals = vec![Proposal { number, protocol, spi: Spi::None, transforms }];
    let payloads = [
        Payload::Sa(Sa { proposals }),
        Payload::Ke(Ke { group: GroupId::MODP_2048, data: vec![2; 256] }),
        Payload::Nonce(Nonce(vec![3; 32])),
    ];
    for number in 1..=300u64 {
        let (exchange, flags) = (ExchangeType::IKE_SA_INIT, Flags::v2(true, false));
        let own = IkeSpi(number.to_be_bytes());
        let header = Header::v2(own, IkeSpi::ZERO, exchange, flags, MessageId(0));
        socket.send_to(&emit_message(&header, &payloads), ("127.0.0.1", daemon.port)).unwrap();
        let (len, _) = socket.recv_from(&mut [0; 2048]).expect("an answer to each");
        assert!(len > 28);
    }
    let lines = || daemon.log().lines().filter(|line| line.contains("no policy for")).count();
    assert_eq!(eventually(|| (lines() >= 60).then_some(())), Some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(lines(), 60);
}
