//! How the two sides prove who they are: the `ikeauth` words of iked.conf(5).

use serde::{Deserialize, Serialize};

use crate::wire::iana::v2::AuthMethod;

/// How each side of a policy proves who it is. Which side is ours depends on who starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Auth {
    /// The side that opens the IKE SA.
    pub initiator: Method,
    /// The side that answers.
    pub responder: Method,
}

/// How one side proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// By the policy's pre-shared key, which the `ca` process holds.
    Psk,
    /// By a signature.
    Signature(Signature),
    /// By EAP (RFC 7296 §2.16).
    Eap(EapMethod),
}

/// Which signatures a side may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Signature {
    /// `signature`, or no word at all: whatever the key is for; by RFC 7427 where both sides can.
    Any,
    /// `rsa`: RSA with PKCS#1 padding (method 1).
    Rsa,
    /// `ecdsa256`: P-256 with SHA2-256 (method 9).
    Ecdsa256,
    /// `ecdsa384`: P-384 with SHA2-384 (method 10).
    Ecdsa384,
    /// `ecdsa521`: P-521 with SHA2-512 (method 11).
    Ecdsa521,
    /// `rfc7427`: Digital Signature only (method 14).
    Rfc7427,
}

impl Signature {
    /// Each kind and its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("rsa", Self::Rsa),
        ("ecdsa256", Self::Ecdsa256),
        ("ecdsa384", Self::Ecdsa384),
        ("ecdsa521", Self::Ecdsa521),
        ("rfc7427", Self::Rfc7427),
        ("signature", Self::Any),
    ];

    /// Those that an `ike` rule may name: IKEv1 has a method for each (RFC 2409, RFC 4754).
    pub const OF_IKEV1: &'static [(&'static str, Self)] = Self::WORDS.split_at(4).0;

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Whether a signature of this method of IKEv2 is one of these. For RSA by method 14 the key has
    /// to be looked at, too.
    pub fn takes(self, method: AuthMethod) -> bool {
        match self {
            Self::Any => {
                method == AuthMethod::DIGITAL_SIGNATURE
                    || [Self::Rsa, Self::Ecdsa256, Self::Ecdsa384, Self::Ecdsa521]
                        .iter()
                        .any(|kind| kind.takes(method))
            }
            Self::Rsa => {
                matches!(method, AuthMethod::RSA_SIGNATURE | AuthMethod::DIGITAL_SIGNATURE)
            }
            Self::Ecdsa256 => method == AuthMethod::ECDSA_SHA256_P256,
            Self::Ecdsa384 => method == AuthMethod::ECDSA_SHA384_P384,
            Self::Ecdsa521 => method == AuthMethod::ECDSA_SHA512_P521,
            Self::Rfc7427 => method == AuthMethod::DIGITAL_SIGNATURE,
        }
    }
}

/// What only `ike` rules say about how the sides prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Ike1Auth {
    /// How phase 1 goes.
    pub proof: Ike1Proof,
    /// `xauth`: the user logs in after phase 1.
    pub xauth: Option<Xauth>,
}

/// How the sides prove in phase 1 of IKEv1 who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub enum Ike1Proof {
    /// By what [`Auth`] says: the pre-shared key, or signatures.
    #[default]
    Usual,
    /// `hybrid`: the responder by a signature, the initiator by XAUTH alone
    /// (draft-ietf-ipsec-isakmp-hybrid-auth).
    Hybrid,
    /// `rsa-encryption` (RFC 2409 §5.2).
    Encryption,
    /// `rsa-revised-encryption` (RFC 2409 §5.3).
    RevisedEncryption,
}

impl Ike1Proof {
    /// Those that have a word, and the word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("hybrid", Self::Hybrid),
        ("rsa-encryption", Self::Encryption),
        ("rsa-revised-encryption", Self::RevisedEncryption),
    ];

    /// Its word, if it has one.
    pub fn word(self) -> Option<&'static str> {
        Self::WORDS.iter().find(|(_, proof)| *proof == self).map(|(word, _)| *word)
    }
}

/// Who logs in after phase 1 (draft-beaulieu-ike-xauth).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Xauth {
    /// `xauth "NAME"`: we, as this user.
    As(String),
    /// `xauth`: the peer.
    Peer,
}

/// How a peer proves by EAP who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EapMethod {
    /// `eap "mschap-v2"`: by the passwords of `user` lines.
    MsChapV2,
    /// `eap "radius"`: whatever the RADIUS servers want.
    Radius,
}

impl EapMethod {
    /// Each method and its word.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("mschap-v2", Self::MsChapV2), ("radius", Self::Radius)];

    /// The method of a word; case and `_` for `-` do not matter, as in iked.
    pub fn from_word(word: &str) -> Option<Self> {
        let plain = word.to_ascii_lowercase().replace('_', "-");
        Self::WORDS.iter().find(|(known, _)| *known == plain).map(|(_, method)| *method)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, method)| *method == self).map_or("", |(word, _)| word)
    }
}

impl Auth {
    /// `psk`: both sides by the pre-shared key.
    pub const PSK: Self = Self { initiator: Method::Psk, responder: Method::Psk };

    /// Both sides by signatures of this kind.
    pub fn signature(kind: Signature) -> Self {
        Self { initiator: Method::Signature(kind), responder: Method::Signature(kind) }
    }

    /// `eap`: the initiator by EAP, the responder by any signature.
    pub fn eap(method: EapMethod) -> Self {
        Self { initiator: Method::Eap(method), responder: Method::Signature(Signature::Any) }
    }

    /// Whether a side proves by a signature who it is.
    pub fn signs(&self) -> bool {
        [self.initiator, self.responder].iter().any(|it| matches!(it, Method::Signature(_)))
    }

    /// How we prove who we are.
    pub fn ours(&self, initiator: bool) -> Method {
        if initiator { self.initiator } else { self.responder }
    }

    /// How the peer must prove who it is.
    pub fn theirs(&self, initiator: bool) -> Method {
        self.ours(!initiator)
    }
}
