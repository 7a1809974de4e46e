//! The algorithms of ipsec.conf(5): words, isakmpd's names, key lengths.

/// A row of the tables of ipsec.conf(5)'s algorithms.
#[derive(Debug, PartialEq, Eq)]
pub struct Transform {
    /// Its word.
    pub word: &'static str,
    /// isakmpd's name, empty where isakmpd has none.
    pub isakmpd: &'static str,
    /// isakmpd's key length attribute: the value offered and the range accepted.
    pub key_length: Option<&'static str>,
    /// The shortest and the longest key, in octets.
    pub key: (usize, usize),
    /// Authenticates by itself.
    pub aead: bool,
    /// Must not be used with a key that stays the same.
    pub no_static: bool,
    /// May be used by isakmpd's phase 1.
    pub phase1: bool,
}

const fn row(word: &'static str, isakmpd: &'static str, key: (usize, usize)) -> Transform {
    Transform { word, isakmpd, key_length: None, key, aead: false, no_static: false, phase1: true }
}

const fn cipher(
    word: &'static str,
    isakmpd: &'static str,
    key_length: &'static str,
    key: (usize, usize),
) -> Transform {
    Transform { key_length: Some(key_length), ..row(word, isakmpd, key) }
}

const fn counter(
    word: &'static str,
    name: &'static str,
    bits: &'static str,
    key: usize,
) -> Transform {
    Transform { no_static: true, phase1: false, ..cipher(word, name, bits, (key, key)) }
}

const fn combined(
    word: &'static str,
    name: &'static str,
    bits: &'static str,
    key: usize,
) -> Transform {
    Transform { aead: true, ..counter(word, name, bits, key) }
}

/// The first word of each of ipsecctl's tables: it takes it, and the empty word, which begins every
/// other; nothing can be done with it.
const UNKNOWN: Transform = Transform { phase1: false, ..row("unknown", "", (0, 0)) };

/// Integrity algorithms.
pub static AUTH: &[Transform] = &[
    UNKNOWN,
    row("none", "", (0, 0)),
    row("hmac-md5", "MD5", (16, 16)),
    Transform { phase1: false, ..row("hmac-ripemd160", "RIPEMD", (20, 20)) },
    row("hmac-sha1", "SHA", (20, 20)),
    row("hmac-sha2-256", "SHA2_256", (32, 32)),
    row("hmac-sha2-384", "SHA2_384", (48, 48)),
    row("hmac-sha2-512", "SHA2_512", (64, 64)),
];

/// Ciphers; counter modes have four octets of salt behind the key.
pub static ENC: &[Transform] = &[
    UNKNOWN,
    row("none", "", (0, 0)),
    row("3des-cbc", "3DES", (24, 24)),
    cipher("aes", "AES", "128,128:256", (16, 32)),
    cipher("aes-128", "AES", "128,128:128", (16, 16)),
    cipher("aes-192", "AES", "192,192:192", (24, 24)),
    cipher("aes-256", "AES", "256,256:256", (32, 32)),
    Transform { key: (20, 36), ..counter("aesctr", "AES_CTR", "128,128:128", 20) },
    counter("aes-128-ctr", "AES_CTR", "128,128:128", 20),
    counter("aes-192-ctr", "AES_CTR", "192,192:192", 28),
    counter("aes-256-ctr", "AES_CTR", "256,256:256", 36),
    combined("aes-128-gcm", "AES_GCM_16", "128,128:128", 20),
    combined("aes-192-gcm", "AES_GCM_16", "192,192:192", 28),
    combined("aes-256-gcm", "AES_GCM_16", "256,256:256", 36),
    combined("aes-128-gmac", "AES_GMAC", "128,128:128", 20),
    combined("aes-192-gmac", "AES_GMAC", "192,192:192", 28),
    combined("aes-256-gmac", "AES_GMAC", "256,256:256", 36),
    cipher("blowfish", "BLOWFISH", "128,96:192", (5, 56)),
    row("cast128", "CAST", (5, 16)),
    Transform { key_length: None, ..combined("chacha20-poly1305", "", "", 36) },
    Transform { phase1: false, ..row("null", "NULL", (0, 0)) },
];

/// Compression.
pub static COMP: &[Transform] = &[UNKNOWN, row("deflate", "", (0, 0))];

/// Groups.
pub static GROUP: &[Transform] = &[
    UNKNOWN,
    Transform { phase1: false, ..row("none", "NONE", (0, 0)) },
    row("modp768", "MODP_768", (0, 0)),
    row("grp1", "MODP_768", (0, 0)),
    row("modp1024", "MODP_1024", (0, 0)),
    row("grp2", "MODP_1024", (0, 0)),
    row("modp1536", "MODP_1536", (0, 0)),
    row("grp5", "MODP_1536", (0, 0)),
    row("modp2048", "MODP_2048", (0, 0)),
    row("grp14", "MODP_2048", (0, 0)),
    row("modp3072", "MODP_3072", (0, 0)),
    row("grp15", "MODP_3072", (0, 0)),
    row("modp4096", "MODP_4096", (0, 0)),
    row("grp16", "MODP_4096", (0, 0)),
    row("modp6144", "MODP_6144", (0, 0)),
    row("grp17", "MODP_6144", (0, 0)),
    row("modp8192", "MODP_8192", (0, 0)),
    row("grp18", "MODP_8192", (0, 0)),
    row("ecp256", "ECP_256", (0, 0)),
    row("grp19", "ECP_256", (0, 0)),
    row("ecp384", "ECP_384", (0, 0)),
    row("grp20", "ECP_384", (0, 0)),
    row("ecp521", "ECP_521", (0, 0)),
    row("grp21", "ECP_521", (0, 0)),
    row("ecp224", "ECP_224", (0, 0)),
    row("grp26", "ECP_224", (0, 0)),
    row("bp224", "BP_224", (0, 0)),
    row("grp27", "BP_224", (0, 0)),
    row("bp256", "BP_256", (0, 0)),
    row("grp28", "BP_256", (0, 0)),
    row("bp384", "BP_384", (0, 0)),
    row("grp29", "BP_384", (0, 0)),
    row("bp512", "BP_512", (0, 0)),
    row("grp30", "BP_512", (0, 0)),
];

/// Words that should not be used any more, and what to write instead.
pub(super) const WEAK: &[(&str, &str)] = &[
    ("3des-cbc", "aes-256"),
    ("blowfish", "aes-256"),
    ("cast128", "aes-256"),
    ("null", "aes-256"),
    ("none", "grp15"),
    ("hmac-md5", "hmac-sha2-256"),
    ("hmac-ripemd160", "hmac-sha2-256"),
    ("hmac-sha1", "hmac-sha2-256"),
    ("modp768", "modp3072"),
    ("grp1", "grp15"),
    ("modp1024", "modp3072"),
    ("grp2", "grp15"),
    ("modp1536", "modp3072"),
    ("grp5", "grp15"),
];

/// The first row whose word begins with this one, as ipsecctl looks it up (`3des` is `3des-cbc`).
pub fn transform(word: &str, table: &'static [Transform]) -> Option<&'static Transform> {
    table.iter().find(|row| row.word.starts_with(word))
}
