//! `cargo bench --bench abuse`: ten minutes of bytes that no centre should send and of replies that nobody should write, made of good ones by
//! random damage: whatever reads them must not panic. `cargo bench --bench abuse -- SECONDS` for another time.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use rusmpp::pdus::{DeliverSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::OctetString;
use rusmpp::values::EsmClass;
use rusmpp::{Command, CommandStatus, Pdu};
use shanyraq::dispatch::parse_reply;
use shanyraq::network::smpp::understand;
use std::time::{Duration, Instant};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Encoder;

/// Commands that a centre sends, as bytes.
fn good() -> Vec<Vec<u8>> {
    let words = b"id:0A1b sub:001 dlvrd:001 submit date:2611290101 done date:2611290102 stat:DELIVRD err:000 text:";
    let message = |class: u8, bytes: &[u8]| -> Pdu {
        DeliverSm::builder().esm_class(EsmClass::from(class)).short_message(OctetString::from_slice(bytes).expect("it fits")).build().into()
    };
    let commands = [
        message(4, words),
        message(0, b"1"),
        message(0x40, &[5, 0, 3, 9, 2, 1, b'Y']),
        SubmitSmResp::default().into(),
        Pdu::EnquireLink,
        Pdu::Unbind,
    ];
    let bytes = |pdu: Pdu| {
        let mut bytes = BytesMut::new();
        CommandCodec::new().encode(Command::new(CommandStatus::EsmeRok, 1, pdu), &mut bytes).expect("memory takes all");
        bytes.to_vec()
    };
    commands.into_iter().map(bytes).collect()
}

fn damaged(chance: &mut Pcg64Mcg, good: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..1 + chance.next_u32() % 4).flat_map(|_| good[chance.next_u32() as usize % good.len()].clone()).collect();
    for _ in 0..chance.next_u32() % 8 {
        if bytes.is_empty() {
            break;
        }
        let at = chance.next_u32() as usize % bytes.len();
        match chance.next_u32() % 4 {
            0 => bytes[at] = chance.next_u32() as u8,
            1 => bytes.insert(at, chance.next_u32() as u8),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(600);
    let (begun, good) = (Instant::now(), good());
    let replies = ["ДА", "иә 2", "Жоқ", "yes", "1", "2 1", "СТОП", "нет спасибо"].map(str::as_bytes).map(<[u8]>::to_vec);
    let mut chance = Pcg64Mcg::seed_from_u64(seconds);
    let (mut tried, mut understood) = (0_u64, 0_u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..1000 {
            understood += understand(&damaged(&mut chance, &good)) as u64;
            let text = damaged(&mut chance, &replies);
            std::hint::black_box(parse_reply(&String::from_utf8_lossy(&text)));
            tried += 2;
        }
    }
    println!("{tried} tried in {seconds} s, of which {understood} still said something; nothing panicked");
}
