//! Algorithms in our own words. Which number a kernel gives them stands in the tables of its
//! [dialect](crate::dialect).

use std::fmt;

/// The IPsec protocol of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Encapsulating Security Payload (RFC 4303).
    Esp,
    /// Authentication Header (RFC 4302).
    Ah,
    /// IP Payload Compression (RFC 3173); its "SPI" is a CPI of 16 bits.
    IpComp,
    /// IP in IP, which OpenBSD keeps in the SADB.
    IpIp,
    /// TCP MD5 signatures (RFC 2385).
    TcpSignature,
}

impl Protocol {
    /// The number in the IP header (IANA), or `None` for what is no IP protocol of its own.
    pub const fn ip_protocol(self) -> Option<u8> {
        match self {
            Protocol::Esp => Some(50),
            Protocol::Ah => Some(51),
            Protocol::IpComp => Some(108),
            Protocol::IpIp => Some(4),
            Protocol::TcpSignature => None,
        }
    }

    /// The protocol of a number in the IP header.
    pub const fn from_ip_protocol(number: u8) -> Option<Protocol> {
        match number {
            50 => Some(Protocol::Esp),
            51 => Some(Protocol::Ah),
            108 => Some(Protocol::IpComp),
            4 => Some(Protocol::IpIp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Esp => "esp",
            Protocol::Ah => "ah",
            Protocol::IpComp => "ipcomp",
            Protocol::IpIp => "ipip",
            Protocol::TcpSignature => "tcpmd5",
        })
    }
}

/// Encryption algorithms of ESP, combined-mode ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encryption {
    /// ENCR_NULL (RFC 2410).
    Null,
    /// DES-CBC (RFC 2405).
    DesCbc,
    /// 3DES-CBC (RFC 2451).
    TripleDesCbc,
    /// CAST-128-CBC (RFC 2451).
    CastCbc,
    /// Blowfish-CBC (RFC 2451).
    BlowfishCbc,
    /// AES-CBC (RFC 3602).
    AesCbc,
    /// AES-CTR (RFC 3686); four octets of salt follow the key.
    AesCtr,
    /// AES-CCM with an ICV of 8 octets (RFC 4309); three octets of salt follow the key.
    AesCcm8,
    /// AES-CCM with an ICV of 12 octets.
    AesCcm12,
    /// AES-CCM with an ICV of 16 octets.
    AesCcm16,
    /// AES-GCM with an ICV of 8 octets (RFC 4106); four octets of salt follow the key.
    AesGcm8,
    /// AES-GCM with an ICV of 12 octets.
    AesGcm12,
    /// AES-GCM with an ICV of 16 octets.
    AesGcm16,
    /// AES-GMAC, authentication only (RFC 4543); four octets of salt follow the key.
    AesGmac,
    /// ChaCha20-Poly1305 (RFC 7634); four octets of salt follow the key.
    ChaCha20Poly1305,
    /// Camellia-CBC (RFC 4312).
    CamelliaCbc,
    /// Serpent-CBC.
    SerpentCbc,
    /// Twofish-CBC.
    TwofishCbc,
    /// Skipjack-CBC.
    SkipjackCbc,
    /// SM4-CBC.
    Sm4Cbc,
}

impl Encryption {
    /// Octets of salt that follow the cipher key in the key material.
    pub const fn salt_len(self) -> usize {
        match self {
            Encryption::AesCtr
            | Encryption::AesGcm8
            | Encryption::AesGcm12
            | Encryption::AesGcm16
            | Encryption::AesGmac
            | Encryption::ChaCha20Poly1305 => 4,
            Encryption::AesCcm8 | Encryption::AesCcm12 | Encryption::AesCcm16 => 3,
            _ => 0,
        }
    }

    /// Whether the algorithm authenticates by itself, so that no [`Authentication`] goes with it.
    pub const fn is_aead(self) -> bool {
        matches!(
            self,
            Encryption::AesCcm8
                | Encryption::AesCcm12
                | Encryption::AesCcm16
                | Encryption::AesGcm8
                | Encryption::AesGcm12
                | Encryption::AesGcm16
                | Encryption::AesGmac
                | Encryption::ChaCha20Poly1305
        )
    }

    /// The name that ipsecctl(8) prints where it has one, and one in its manner elsewhere.
    pub const fn name(self) -> &'static str {
        match self {
            Encryption::Null => "null",
            Encryption::DesCbc => "des-cbc",
            Encryption::TripleDesCbc => "3des-cbc",
            Encryption::CastCbc => "cast128-cbc",
            Encryption::BlowfishCbc => "blowfish-cbc",
            Encryption::AesCbc => "aes",
            Encryption::AesCtr => "aesctr",
            Encryption::AesCcm8 => "aes-ccm-8",
            Encryption::AesCcm12 => "aes-ccm-12",
            Encryption::AesCcm16 => "aes-ccm-16",
            Encryption::AesGcm8 => "aes-gcm-8",
            Encryption::AesGcm12 => "aes-gcm-12",
            Encryption::AesGcm16 => "aes-gcm",
            Encryption::AesGmac => "aes-gmac",
            Encryption::ChaCha20Poly1305 => "chacha20-poly1305",
            Encryption::CamelliaCbc => "camellia-cbc",
            Encryption::SerpentCbc => "serpent-cbc",
            Encryption::TwofishCbc => "twofish-cbc",
            Encryption::SkipjackCbc => "skipjack-cbc",
            Encryption::Sm4Cbc => "sm4-cbc",
        }
    }
}

/// Authentication (integrity) algorithms of ESP and AH, each with the length of its ICV: the same
/// hash cut to another length does not interoperate and so is another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Authentication {
    /// No authentication, said with a number of its own (KAME).
    Null,
    /// HMAC-MD5-96 (RFC 2403).
    HmacMd5,
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1,
    /// HMAC-SHA2-256-128 (RFC 4868).
    HmacSha256,
    /// HMAC-SHA2-256 cut to 96 bits, which Linux does by PF_KEY. RFC 4868 peers refuse it.
    HmacSha256Cut96,
    /// HMAC-SHA2-384-192 (RFC 4868).
    HmacSha384,
    /// HMAC-SHA2-512-256 (RFC 4868).
    HmacSha512,
    /// HMAC-RIPEMD-160-96 (RFC 2857).
    HmacRipemd160,
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbc,
    /// AES-128-GMAC, as AH or as what a kernel reports beside AES-GCM.
    AesGmac128,
    /// AES-192-GMAC.
    AesGmac192,
    /// AES-256-GMAC.
    AesGmac256,
    /// What a kernel reports beside ChaCha20-Poly1305.
    ChaCha20Poly1305,
    /// Keyed MD5 (RFC 1828).
    KeyedMd5,
    /// Keyed SHA1.
    KeyedSha1,
    /// TCP MD5 signature (RFC 2385).
    TcpMd5,
    /// HMAC-SM3.
    HmacSm3,
}

impl Authentication {
    /// The key length in octets, where only one is right.
    pub const fn key_len(self) -> Option<usize> {
        match self {
            Authentication::HmacMd5 | Authentication::AesXcbc => Some(16),
            Authentication::HmacSha1 | Authentication::HmacRipemd160 => Some(20),
            Authentication::HmacSha256 | Authentication::HmacSha256Cut96 => Some(32),
            Authentication::HmacSha384 => Some(48),
            Authentication::HmacSha512 => Some(64),
            _ => None,
        }
    }

    /// The name that ipsecctl(8) prints where it has one, and one in its manner elsewhere.
    pub const fn name(self) -> &'static str {
        match self {
            Authentication::Null => "null",
            Authentication::HmacMd5 => "hmac-md5",
            Authentication::HmacSha1 => "hmac-sha1",
            Authentication::HmacSha256 => "hmac-sha2-256",
            Authentication::HmacSha256Cut96 => "hmac-sha2-256-96",
            Authentication::HmacSha384 => "hmac-sha2-384",
            Authentication::HmacSha512 => "hmac-sha2-512",
            Authentication::HmacRipemd160 => "hmac-ripemd160",
            Authentication::AesXcbc => "aes-xcbc",
            Authentication::AesGmac128 => "gmac-aes-128",
            Authentication::AesGmac192 => "gmac-aes-192",
            Authentication::AesGmac256 => "gmac-aes-256",
            Authentication::ChaCha20Poly1305 => "chacha20-poly1305",
            Authentication::KeyedMd5 => "keyed-md5",
            Authentication::KeyedSha1 => "keyed-sha1",
            Authentication::TcpMd5 => "tcp-md5",
            Authentication::HmacSm3 => "hmac-sm3",
        }
    }
}

/// Compression algorithms of IPComp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// A vendor's own, named by an OUI.
    Oui,
    /// DEFLATE (RFC 2394).
    Deflate,
    /// LZS (RFC 2395).
    Lzs,
    /// LZJH (RFC 3051).
    Lzjh,
}

impl Compression {
    /// The name that ipsecctl(8) prints where it has one.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::Oui => "oui",
            Compression::Deflate => "deflate",
            Compression::Lzs => "lzs",
            Compression::Lzjh => "lzjh",
        }
    }
}

/// An algorithm with the key sizes, in octets and salt included, that a kernel takes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySizes<A> {
    /// The algorithm.
    pub algorithm: A,
    /// The shortest key in octets.
    pub min: usize,
    /// The longest key in octets.
    pub max: usize,
}

/// What a kernel can do, from its answer to REGISTER and what is known of the dialect beyond it.
///
/// Only what a peer that follows the RFCs can talk to belongs in a proposal; what the kernel does
/// in another way (Linux: HMAC-SHA2-256 cut to 96 bits) stands here as the value it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Encryption, combined-mode algorithms included.
    pub encryption: Vec<KeySizes<Encryption>>,
    /// Authentication.
    pub authentication: Vec<KeySizes<Authentication>>,
    /// Compression; empty where the kernel does not say.
    pub compression: Vec<Compression>,
    /// Whether extended sequence numbers can be asked for.
    pub esn: bool,
}

impl Capabilities {
    /// Whether the kernel takes this algorithm with a key of `octets` (salt included).
    pub fn encrypts(&self, algorithm: Encryption, octets: usize) -> bool {
        self.encryption
            .iter()
            .any(|k| k.algorithm == algorithm && (k.min..=k.max).contains(&octets))
    }

    /// Whether the kernel takes this algorithm.
    pub fn authenticates(&self, algorithm: Authentication) -> bool {
        self.authentication.iter().any(|k| k.algorithm == algorithm)
    }
}
