#![doc = include_str!("../README.md")]

mod client;
mod counters;
mod delivery;
mod episode;
mod error;
mod fallback;
mod turn;

pub use client::{Client, Options, TextSource};
pub use counters::Counters;
pub use delivery::{Acknowledgement, Receipt};
pub use episode::{Episode, EpisodeOptions};
pub use error::{Error, FieldViolation, Refused};
pub use fallback::FallbackTable;
pub use tonic;
pub use turn::Decision;

/// The contract's messages, made from `proto/sojourn/v1`.
pub mod v1 {
    #![allow(missing_docs)] // some of what is generated beside the messages has no comment
    tonic::include_proto!("sojourn.v1");
}
