//! Numbers of the IANA registries as open newtypes: an unknown number passes through and prints.
//!
//! One table per registry says number, constant, IANA's name, where it was defined, and the words by
//! which oakd.conf(5) calls it. Whoever needs a number, a name or a keyword asks that table.

pub mod v1;
pub mod v2;
pub mod vendor;

/// A word of the configuration language for a registry's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyword {
    /// The word, as oakd.conf(5) and iked.conf(5) spell it.
    pub word: &'static str,
    /// The key length in bits which the word implies, for ciphers of variable key length.
    pub key_bits: Option<u16>,
}

/// One row of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The assigned number.
    pub number: u16,
    /// The name as IANA spells it.
    pub name: &'static str,
    /// The document that defines it.
    pub reference: &'static str,
    /// The words of the configuration language for it; the first is the one to print.
    pub keywords: &'static [Keyword],
}

/// The name of a row: the one given, else the constant's own.
macro_rules! row_name {
    ($const:ident) => {
        stringify!($const)
    };
    ($const:ident $name:literal) => {
        $name
    };
}

/// The key length which a keyword implies, if the row says one.
macro_rules! row_bits {
    () => {
        None
    };
    ($bits:literal) => {
        Some($bits)
    };
}

/// Makes an open newtype of a registry: constants, table, name, keyword, Display, serde.
///
/// `registry! { /// doc  TypeName(u16) "PREFIX" { 12 CONST ("IANA name") "RFC" ["word" 128]; } }`
/// where the name may be left out if the constant spells it, and the keywords if there are none.
macro_rules! registry {
    ($(#[$doc:meta])* $type:ident($repr:ident) $prefix:literal {
        $($number:literal $const:ident $(($name:literal))? $reference:literal
          $([$($word:literal $($bits:literal)?),+])?;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub $repr);

        impl $type {
            $(
                #[doc = concat!($crate::wire::iana::row_name!($const $($name)?), " (", $reference, ")")]
                pub const $const: $type = $type($number);
            )*

            /// The registry's rows, in the order of their numbers.
            pub const TABLE: &'static [$crate::wire::iana::Row] = &[
                $($crate::wire::iana::Row {
                    number: $number,
                    name: $crate::wire::iana::row_name!($const $($name)?),
                    reference: $reference,
                    keywords: &[$($($crate::wire::iana::Keyword {
                        word: $word,
                        key_bits: $crate::wire::iana::row_bits!($($bits)?),
                    }),+)?],
                },)*
            ];

            /// The row of this number, if it is assigned.
            pub fn row(self) -> Option<&'static $crate::wire::iana::Row> {
                Self::TABLE.iter().find(|row| row.number == u16::from(self.0))
            }

            /// The name as IANA spells it, if the number is assigned.
            pub fn name(self) -> Option<&'static str> {
                self.row().map(|row| row.name)
            }

            /// The configuration's word for this number. With `key_bits` the word that implies this
            /// key length; `None` asks for a word that implies none.
            pub fn keyword(self, key_bits: Option<u16>) -> Option<&'static str> {
                let keywords = self.row()?.keywords;
                keywords.iter().find(|k| k.key_bits == key_bits).map(|k| k.word)
            }

            /// The number which a word of the configuration means, and the key length it implies.
            pub fn from_keyword(word: &str) -> Option<($type, Option<u16>)> {
                Self::TABLE.iter().zip([$($type::$const),*]).find_map(|(row, id)| {
                    let keyword = row.keywords.iter().find(|k| k.word == word)?;
                    Some((id, keyword.key_bits))
                })
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!($prefix, "_{} (unknown)"), self.0),
                }
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl From<$repr> for $type {
            fn from(number: $repr) -> Self {
                $type(number)
            }
        }
    };
}

pub(crate) use {registry, row_bits, row_name};
