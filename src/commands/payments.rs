//! `shanyraq dispatch payments`: what was ordered, as a file that banks take (ISO 20022, pain.001.001.09).

use super::Failure;
use crate::dispatch::Iban;
use crate::ledger::Reader;
use crate::pipeline::ledger_file;
use clap::Args;
use dataflows::model::Date;
use quick_xml::Writer;
use quick_xml::events::BytesText;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use xxhash_rust::xxh3::xxh3_128;

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";
/// What such a payment is for (ISO 20022, external purpose codes: social security benefit).
const PURPOSE: &str = "SSBE";

#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The folder of journal and ledger; a pipeline may be at work in it.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Orders made from this day on,
    #[arg(long, value_parser = super::feeds::parse_date)]
    from: Date,
    /// to this one, on which they are to be executed.
    #[arg(long, value_parser = super::feeds::parse_date)]
    until: Date,
    /// Who pays, from which account and at which bank (BIC).
    #[arg(long)]
    payer: String,
    #[arg(long)]
    iban: String,
    #[arg(long)]
    bank: String,
    #[arg(long, default_value = "KZT")]
    currency: String,
    /// The file; the same orders give the same one.
    #[arg(long)]
    out: PathBuf,
}

/// An order that can be paid.
struct Transfer {
    name: String,
    amount: i64,
    account: Iban,
    payee: String,
    about: String,
}

/// Writes the file; orders without an account are counted, and left for later.
pub fn payments(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { data, from, until, iban, out, .. } = arguments;
    let payer =
        Iban::parse(iban).ok_or_else(|| Failure::usage(format!("--iban: `{iban}` has not the form or the check digits of an account")))?;
    let file = ledger_file(data);
    if !file.is_file() {
        return Err(Failure::usage(format!("{}: no ledger here", file.display())));
    }
    let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
    let orders =
        Reader::open(&file).and_then(|reader| reader.orders(&from.to_string(), &until.to_string())).map_err(|error| failed(&error))?;
    let transfers: Vec<Transfer> = orders.iter().filter_map(transfer).collect();
    if transfers.is_empty() {
        return Err(Failure::failed(format!("no order of {from} to {until} has an account ({} have none)", orders.len())));
    }
    let document = document(arguments, payer, &transfers).map_err(|error| failed(&error))?;
    std::fs::write(out, document).map_err(|error| Failure::failed(format!("{}: {error}", out.display())))?;
    let sum: i64 = transfers.iter().map(|transfer| transfer.amount).sum();
    println!("{}", json!({ "transfers": transfers.len(), "sum": sum, "without_account": orders.len() - transfers.len() }));
    Ok(())
}

fn transfer(order: &Value) -> Option<Transfer> {
    let text = |name: &str| order[name].as_str().map(str::to_owned);
    let month = text("month")?;
    Some(Transfer {
        name: text("payment")?,
        amount: order["amount"].as_i64()?,
        account: Iban::parse(order["account"].as_str()?)?,
        payee: text("payee")?,
        about: format!("{} {}", text("benefit")?, &month[..7]),
    })
}

type Xml = Writer<Vec<u8>>;

/// An element with others in it, and one with a text.
fn group(xml: &mut Xml, name: &str, inner: impl FnOnce(&mut Xml) -> io::Result<()>) -> io::Result<()> {
    xml.create_element(name).write_inner_content(inner).map(drop)
}

fn text(xml: &mut Xml, name: &str, said: impl AsRef<str>) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(said.as_ref())).map(drop)
}

fn document(arguments: &Arguments, payer: Iban, transfers: &[Transfer]) -> io::Result<Vec<u8>> {
    let names: String = transfers.iter().map(|transfer| transfer.name.as_str()).collect();
    let message = format!("{:032x}", xxh3_128(names.as_bytes()));
    let (count, sum) = (transfers.len().to_string(), transfers.iter().map(|transfer| transfer.amount).sum::<i64>().to_string());
    let mut xml = Writer::new_with_indent(br#"<?xml version="1.0" encoding="UTF-8"?>"#.to_vec(), b' ', 1);
    let document = xml.create_element("Document").with_attribute(("xmlns", NAMESPACE));
    document.write_inner_content(|xml| {
        group(xml, "CstmrCdtTrfInitn", |xml| {
            group(xml, "GrpHdr", |xml| {
                text(xml, "MsgId", &message)?;
                text(xml, "CreDtTm", format!("{}T00:00:00", arguments.until))?;
                text(xml, "NbOfTxs", &count)?;
                text(xml, "CtrlSum", &sum)?;
                group(xml, "InitgPty", |xml| text(xml, "Nm", &arguments.payer))
            })?;
            group(xml, "PmtInf", |xml| {
                text(xml, "PmtInfId", &message)?;
                text(xml, "PmtMtd", "TRF")?;
                text(xml, "NbOfTxs", &count)?;
                text(xml, "CtrlSum", &sum)?;
                group(xml, "ReqdExctnDt", |xml| text(xml, "Dt", arguments.until.to_string()))?;
                group(xml, "Dbtr", |xml| text(xml, "Nm", &arguments.payer))?;
                group(xml, "DbtrAcct", |xml| account(xml, payer))?;
                group(xml, "DbtrAgt", |xml| group(xml, "FinInstnId", |xml| text(xml, "BICFI", &arguments.bank)))?;
                transfers.iter().try_for_each(|transfer| group(xml, "CdtTrfTxInf", |xml| credit(xml, transfer, &arguments.currency)))
            })
        })
    })?;
    Ok(xml.into_inner())
}

fn account(xml: &mut Xml, iban: Iban) -> io::Result<()> {
    group(xml, "Id", |xml| text(xml, "IBAN", iban.to_string()))
}

/// One transfer: the payee is known by their number alone.
fn credit(xml: &mut Xml, Transfer { name, amount, account: iban, payee, about }: &Transfer, currency: &str) -> io::Result<()> {
    group(xml, "PmtId", |xml| text(xml, "EndToEndId", name))?;
    group(xml, "Amt", |xml| {
        let amount = amount.to_string();
        xml.create_element("InstdAmt").with_attribute(("Ccy", currency)).write_text_content(BytesText::new(&amount)).map(drop)
    })?;
    group(xml, "CdtrAgt", |xml| group(xml, "FinInstnId", |xml| group(xml, "ClrSysMmbId", |xml| text(xml, "MmbId", iban.bank()))))?;
    group(xml, "Cdtr", |xml| {
        group(xml, "Id", |xml| {
            group(xml, "PrvtId", |xml| {
                group(xml, "Othr", |xml| {
                    text(xml, "Id", payee)?;
                    group(xml, "SchmeNm", |xml| text(xml, "Prtry", "IIN"))
                })
            })
        })
    })?;
    group(xml, "CdtrAcct", |xml| account(xml, *iban))?;
    group(xml, "Purp", |xml| text(xml, "Cd", PURPOSE))?;
    group(xml, "RmtInf", |xml| text(xml, "Ustrd", about))
}
