//! Questions to whoever holds the long-term secrets, and the answers.
//!
//! In the daemon that is the `ca` process; in tests and benchmarks it is answered in place. No answer
//! holds a long-term secret: what comes back is a value computed with it, or a judgement. Both versions
//! of IKE ask in the same words; what differs is how a signature is made ([`Manner`], [`Proof`]).

use serde::{Deserialize, Serialize};

pub use crate::conf::Signature as Wish;
use crate::conf::{Identity, PolicyName};
use crate::crypto::Secret;
use crate::wire::iana::v1;
use crate::wire::iana::v2::{AuthMethod, HashId, PrfId};

/// Which question an answer belongs to; never reused while the engine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuestionId(pub u64);

/// What the engine asks of the holder of the secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Compute our AUTH value: `prf(prf(psk, "Key Pad for IKEv2"), octets)` (RFC 7296 §2.15).
    SharedKeySign {
        /// The policy whose pre-shared key it is.
        policy: PolicyName,
        /// The negotiated PRF.
        prf: PrfId,
        /// The octets to be signed: our first message, the peer's nonce, `prf(SK_p, ID)`.
        octets: Vec<u8>,
    },
    /// Judge the peer's AUTH value, computed likewise.
    SharedKeyVerify {
        /// The policy whose pre-shared key it is.
        policy: PolicyName,
        /// The negotiated PRF.
        prf: PrfId,
        /// The octets the peer signed.
        octets: Vec<u8>,
        /// What the peer sent.
        auth: Vec<u8>,
    },
    /// Compute IKEv1's SKEYID from the pre-shared key: `prf(psk, Ni | Nr)` (RFC 2409 §5).
    Skeyid {
        /// The policy whose pre-shared key it is.
        policy: PolicyName,
        /// The PRF: HMAC with the negotiated hash.
        prf: PrfId,
        /// Both nonces, the initiator's first.
        nonces: Vec<u8>,
    },
    /// Judge the password with which a user logs in (XAUTH); answered by [`Answer::Verified`] or
    /// [`Answer::Wrong`].
    Login {
        /// The user's name.
        user: String,
        /// What came as the password.
        password: Secret,
    },
    /// The password of the user as whom a policy of ours logs in, to be sent to the peer: XAUTH has no
    /// other way. Answered by [`Answer::Password`].
    Password {
        /// The user's name.
        user: String,
    },
    /// Sign with the private key of an identity of ours; answered by [`Answer::Signature`].
    Sign(Box<Sign>),
    /// Judge the peer's signature and who it is; answered by [`Answer::Proved`] or
    /// [`Answer::Rejected`].
    Verify(Box<Verify>),
    /// Decrypt what the peer encrypted for us (RFC 2409 §5.2, §5.3); answered by [`Answer::Opened`].
    Open(Box<Open>),
    /// Encrypt for the peer with its public key; answered by [`Answer::Sealed`].
    Seal(Box<Seal>),
}

/// A signature that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// Who we say we are: the key is one whose certificate says so, else a raw one.
    pub identity: Identity,
    /// What is signed: the octets of RFC 7296 §2.15, or HASH_I or HASH_R of RFC 2409 §5.
    pub octets: Vec<u8>,
    /// How.
    pub manner: Manner,
    /// What certificates the peer asked for.
    pub requests: Vec<Request>,
}

/// How a signature is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// IKEv2 (RFC 7296 §3.8).
    V2 {
        /// What the policy wants.
        wish: Wish,
        /// The hashes that the peer announced (RFC 7427 §4); `None` if it announced nothing.
        hashes: Option<Vec<HashId>>,
    },
    /// IKEv1: this method was negotiated (RFC 2409 §5.1, RFC 4754).
    V1(v1::AuthMethod),
}

/// A wish for certificates, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Request {
    /// X.509, by whomever.
    Any,
    /// X.509 by an authority whose SubjectPublicKeyInfo has this SHA-1 hash (RFC 7296 §3.7).
    KeyHash([u8; 20]),
    /// X.509 by an authority of this name, in DER (RFC 2408 §3.10).
    Name(Vec<u8>),
    /// An OCSP answer about the certificate (RFC 4806).
    Ocsp,
    /// A raw public key (RFC 7670).
    PublicKey,
    /// A raw RSA key in the older form (encoding 11).
    RsaKey,
    /// A raw key by the number that OpenIKED gives it (encoding 201).
    IkedKey,
}

/// What a peer sent, or is sent, to prove whose key it is; all in DER.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cert {
    /// An X.509 certificate.
    X509(Vec<u8>),
    /// A revocation list.
    Crl(Vec<u8>),
    /// An OCSP response (RFC 4806).
    Ocsp(Vec<u8>),
    /// A SubjectPublicKeyInfo (RFC 7670).
    PublicKey(Vec<u8>),
    /// An RSAPublicKey (PKCS #1).
    RsaKey(Vec<u8>),
    /// A SubjectPublicKeyInfo by OpenIKED's number.
    IkedKey(Vec<u8>),
    /// An encoding that is not taken; its number.
    Other(u8),
}

impl Cert {
    /// How many octets.
    pub fn len(&self) -> usize {
        match self {
            Cert::X509(data)
            | Cert::Crl(data)
            | Cert::Ocsp(data)
            | Cert::PublicKey(data)
            | Cert::RsaKey(data)
            | Cert::IkedKey(data) => data.len(),
            Cert::Other(_) => 0,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A signature with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// What the method's field says; meaningless in IKEv1, where it was negotiated.
    pub method: AuthMethod,
    /// What the payload holds.
    pub data: Vec<u8>,
    /// Our certificate, then those above it, or a raw key; whatever the peer asked for.
    pub certs: Vec<Cert>,
}

/// A peer's signature that is to be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Who it says it is.
    pub identity: Identity,
    /// What it signed.
    pub octets: Vec<u8>,
    /// The signature.
    pub proof: Proof,
    /// What it sent along, in its order.
    pub certs: Vec<Cert>,
}

/// A signature as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// IKEv2: an AUTH payload.
    V2 {
        /// Its method.
        method: AuthMethod,
        /// Its data.
        data: Vec<u8>,
        /// What the policy wants.
        wish: Wish,
    },
    /// IKEv1: a SIG payload.
    V1 {
        /// The method that was negotiated.
        method: v1::AuthMethod,
        /// Its data.
        data: Vec<u8>,
    },
}

/// The peer is who it says it is. Only the holder of the trusted authorities makes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// By which key or chain, in words.
    pub by: String,
}

/// Why a peer's signature or its certificates are not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The certificate or key that it is about; empty if there is none.
    pub certificate: String,
    /// The check that failed, as a sentence.
    pub check: String,
    /// The identity that was wanted.
    pub wanted: String,
    /// The identities that the certificate is for.
    pub found: Vec<String>,
    /// What to do about it.
    pub advice: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.certificate.as_str() {
            "" => f.write_str(&self.check)?,
            certificate => write!(f, "{certificate}: {}", self.check)?,
        }
        write!(f, "; wanted {}", self.wanted)?;
        if !self.found.is_empty() {
            write!(f, ", found {}", self.found.join(", "))?;
        }
        match self.advice.as_str() {
            "" => Ok(()),
            advice => write!(f, "; {advice}"),
        }
    }
}

/// What is to be decrypted with a private key of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The SHA hash of the certificate that the peer used, if it said which (RFC 2409 §5.2).
    pub key_hash: Option<Vec<u8>>,
    /// The ciphertexts. What does not decrypt comes back as random octets of the same number each
    /// time, so that the sender learns nothing from how it fails.
    pub sealed: Vec<Vec<u8>>,
}

/// What is to be encrypted for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Whose public key: from the files of raw keys, or a certificate of ours for it.
    pub identity: Identity,
    /// What came of it from the peer: used where there is nothing here, if it can be believed.
    pub certs: Vec<Cert>,
    /// The plaintexts.
    pub plain: Vec<Secret>,
    /// Our identity, if the peer is to get our certificate.
    pub own: Option<Identity>,
}

/// What was encrypted for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The ciphertexts, in the order of the plaintexts.
    pub sealed: Vec<Vec<u8>>,
    /// The SHA hash of the certificate whose key it was.
    pub key_hash: Option<Vec<u8>>,
    /// Our certificate.
    pub own: Option<Vec<u8>>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Our AUTH value.
    Signed(Vec<u8>),
    /// IKEv1's SKEYID, good for one negotiation.
    Skeyid(Secret),
    /// The password that was asked for.
    Password(Secret),
    /// The peer's AUTH value, or a user's password, is right.
    Verified,
    /// It is wrong: the keys differ (or somebody is in the middle).
    Wrong,
    /// The question cannot be answered, in a sentence for the operator.
    Refused(String),
    /// Our signature.
    Signature(Box<Signature>),
    /// The peer is who it says it is.
    Proved(Box<Proved>),
    /// It is not, or cannot be shown to be.
    Rejected(Box<Rejection>),
    /// The plaintexts, in the order of the ciphertexts.
    Opened(Vec<Secret>),
    /// The ciphertexts.
    Sealed(Box<Sealed>),
}

/// Whom the holder of the secrets trusts: what goes into certificate requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trust {
    /// The authorities: SHA-1 hash of the SubjectPublicKeyInfo, and name in DER.
    pub authorities: Vec<([u8; 20], Vec<u8>)>,
    /// Raw public keys of peers are known.
    pub raw_keys: bool,
    /// OCSP answers are wanted: SHA-1 hashes of the public keys of responders that are trusted besides the
    /// authorities and those that they name (RFC 4806 §3.1).
    pub ocsp: Option<Vec<[u8; 20]>>,
}
