//! What distinguishes the kernels, as tables.

use super::{EINVAL, ENOENT, ESRCH};
use crate::dialect::{Dialect, MessageType};

/// An algorithm as REGISTER lists it: number, IV, shortest and longest key in bits.
pub(super) type Listed = [u16; 4];

#[derive(Debug)]
pub(super) struct Rules {
    /// Answers, refusals too, go to every socket (OpenBSD).
    pub broadcasts_all: bool,
    /// A refusal repeats the request (KAME); else it is a bare header.
    pub echoes_refused: bool,
    /// errno, reserved and pid of a request are looked at (OpenBSD).
    pub strict_header: bool,
    /// A wrong version or type gets an answer.
    pub version_by_reply: bool,
    /// Whatever has a header gets an answer (Linux).
    pub all_by_reply: bool,
    /// REGISTER takes any number, any number of times (OpenBSD).
    pub registers_anything: bool,
    /// An unknown SA: to UPDATE, and to GET or DELETE.
    pub no_sa: (u8, u8),
    /// An unknown flow to be deleted.
    pub no_flow: u8,
    /// A key or algorithm that will not do: by write(2) on OpenBSD.
    pub bad_algorithm: u8,
    /// GETSPI of an SPI that is taken.
    pub spi_taken: u8,
    /// SUPPORTED extensions by number.
    pub supported: &'static [(u16, &'static [Listed])],
    /// Taken, though not listed.
    pub unlisted: &'static [Listed],
    /// Order of extensions in answers to ADD and UPDATE.
    pub add: &'static [u16],
    /// Order in answers to GET and DUMP.
    pub get: &'static [u16],
    /// Order in EXPIRE, HARD and SOFT both named.
    pub expire: &'static [u16],
}

pub(super) fn of(dialect: &Dialect) -> &'static Rules {
    match dialect.name {
        "openbsd" => &OPENBSD,
        "freebsd" => &FREEBSD,
        "netbsd" => &NETBSD,
        _ => &LINUX,
    }
}

const OPENBSD: Rules = Rules {
    broadcasts_all: true,
    echoes_refused: false,
    strict_header: true,
    version_by_reply: false,
    all_by_reply: false,
    registers_anything: true,
    no_sa: (ESRCH, ESRCH),
    no_flow: ESRCH,
    bad_algorithm: EINVAL,
    spi_taken: super::EEXIST,
    supported: &[
        (
            14,
            &[
                [3, 0, 160, 160],
                [2, 0, 128, 128],
                [8, 0, 160, 160],
                [5, 0, 256, 256],
                [6, 0, 384, 384],
                [7, 0, 512, 512],
            ],
        ),
        (
            15,
            &[
                [11, 0, 0, 0],
                [3, 64, 192, 192],
                [7, 64, 40, 448],
                [6, 64, 40, 128],
                [12, 128, 128, 256],
                [13, 128, 160, 288],
            ],
        ),
        (30, &[[2, 0, 0, 0]]),
    ],
    unlisted: &[[11, 0, 0, 2048], [20, 0, 160, 288], [21, 0, 160, 288], [22, 0, 288, 288]],
    add: &[1, 2, 3, 4, 5, 6, 7, 10, 11, 17, 18, 19, 20, 21, 22, 31, 33, 34, 37, 40],
    get: &[
        1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 17, 18, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38, 39, 40,
    ],
    expire: &[1, 2, 3, 4, 5, 6],
};

const FREEBSD: Rules = Rules {
    broadcasts_all: false,
    echoes_refused: true,
    strict_header: false,
    version_by_reply: true,
    all_by_reply: false,
    registers_anything: false,
    no_sa: (EINVAL, ESRCH),
    no_flow: EINVAL,
    bad_algorithm: EINVAL,
    spi_taken: super::EEXIST,
    supported: &[
        (
            14,
            &[
                [2, 0, 128, 128],
                [3, 0, 160, 160],
                [5, 0, 256, 256],
                [6, 0, 384, 384],
                [7, 0, 512, 512],
                [8, 0, 160, 160],
                [11, 0, 128, 128],
                [12, 0, 128, 128],
                [13, 0, 128, 128],
                [249, 0, 128, 128],
                [250, 0, 160, 160],
                [251, 0, 8, 2048],
            ],
        ),
        (
            15,
            &[
                [2, 8, 64, 64],
                [3, 8, 192, 192],
                [6, 8, 40, 128],
                [7, 8, 40, 448],
                [11, 0, 0, 2048],
                [12, 16, 128, 256],
                [13, 16, 128, 256],
                [20, 12, 128, 256],
                [22, 16, 64, 256],
                [23, 12, 128, 256],
            ],
        ),
    ],
    unlisted: &[],
    add: &[1, 19, 5, 6, 3, 4, 10, 11, 20, 21, 22, 23, 24, 27, 28],
    get: &[1, 19, 26, 3, 4, 2, 5, 6, 8, 9, 20, 21, 22, 23, 24],
    expire: &[1, 19, 26, 2, 3, 4, 5, 6],
};

const NETBSD: Rules = Rules {
    spi_taken: EINVAL,
    no_sa: (EINVAL, ENOENT),
    supported: &[
        (
            14,
            &[
                [2, 0, 128, 128],
                [3, 0, 160, 160],
                [5, 0, 256, 256],
                [6, 0, 384, 384],
                [7, 0, 512, 512],
                [8, 0, 160, 160],
                [9, 0, 128, 128],
            ],
        ),
        (
            15,
            &[
                [2, 8, 64, 64],
                [3, 8, 192, 192],
                [6, 8, 40, 128],
                [7, 8, 40, 448],
                [11, 4, 0, 2048],
                [12, 16, 128, 256],
                [13, 16, 160, 288],
                [20, 4, 160, 288],
                [22, 16, 64, 256],
                [23, 4, 160, 288],
                [250, 8, 80, 80],
            ],
        ),
    ],
    add: &[1, 19, 5, 6, 3, 4, 10, 11, 20, 21, 22, 23, 24, 25],
    get: &[1, 19, 3, 4, 2, 5, 6, 8, 9, 20, 21, 22, 25],
    expire: &[1, 19, 2, 3, 4, 5, 6],
    ..FREEBSD
};

const LINUX: Rules = Rules {
    broadcasts_all: false,
    echoes_refused: false,
    strict_header: false,
    version_by_reply: true,
    all_by_reply: true,
    registers_anything: false,
    no_sa: (ESRCH, ESRCH),
    no_flow: ENOENT,
    bad_algorithm: 38,
    spi_taken: ENOENT,
    supported: &[
        (
            14,
            &[
                [2, 0, 128, 128],
                [3, 0, 160, 160],
                [5, 0, 256, 256],
                [6, 0, 384, 384],
                [7, 0, 512, 512],
                [8, 0, 160, 160],
                [9, 0, 128, 128],
                [251, 0, 0, 0],
            ],
        ),
        (
            15,
            &[
                [2, 8, 64, 64],
                [3, 8, 192, 192],
                [11, 0, 0, 0],
                [12, 8, 128, 256],
                [13, 8, 160, 288],
                [22, 8, 128, 256],
            ],
        ),
    ],
    unlisted: &[],
    add: &[1, 3, 4, 2, 5, 6, 19, 20, 21, 22],
    get: &[1, 3, 4, 2, 5, 6, 8, 9, 19, 20, 21, 22],
    expire: &[1, 3, 4, 2, 5, 6, 19, 20, 21, 22],
};

/// Extensions that OpenBSD requires and allows in a request of this type.
pub(super) fn openbsd_extensions(
    dialect: &Dialect,
    message: MessageType,
) -> Option<(&'static [u16], &'static [u16])> {
    use MessageType as M;
    if dialect.name != "openbsd" {
        return None;
    }
    Some(match message {
        M::GetSpi => (&[5, 6, 16], &[]),
        M::Update => (
            &[1, 5, 6],
            &[2, 3, 4, 7, 8, 9, 10, 11, 17, 18, 19, 20, 21, 22, 31, 33, 34, 37, 36, 39, 40],
        ),
        M::Add => (
            &[1, 6],
            &[2, 3, 4, 5, 8, 9, 10, 11, 17, 18, 19, 20, 21, 22, 31, 32, 33, 34, 37, 36, 39, 40],
        ),
        M::Delete | M::Get => (&[1, 6], &[5, 37]),
        M::Acquire => (&[], &[5, 6, 10, 11, 13]),
        M::Expire => (&[1, 5, 6], &[]),
        M::AddFlow => (&[17, 18, 20, 21, 22], &[5, 6, 10, 11, 19, 37]),
        M::DelFlow => (&[17, 18, 20, 21, 22], &[19, 37]),
        M::GrpSpis => (&[1, 6, 23, 24, 35], &[37]),
        M::AskPolicy => (&[25], &[]),
        _ => (&[], &[]),
    })
}
