//! `policy show`: one item of a package, and its neighbours.

use super::super::{Failure, package_texts};
use dataflows::policy::contents::{Contents, Item, Sort};
use dataflows::policy::{Level, nearest};

/// Prints everything of this name.
pub fn show(id: &str, policy: &str) -> Result<(), Failure> {
    let contents = Contents::read(&package_texts(policy)?);
    let found: Vec<&Item> = contents.named(id).collect();
    if found.is_empty() {
        let near = nearest(id, contents.items.iter().map(|item| item.id.as_str()));
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(Failure::usage(format!("{policy} says nothing of `{id}`{hint}")));
    }
    found.iter().for_each(|item| print(&contents, item));
    Ok(())
}

fn print(contents: &Contents, item: &Item) {
    let place = if item.file.is_empty() { "nobody writes it".to_owned() } else { format!("{}:{}", item.file, item.line) };
    println!("{} {}  ({place})", item.sort.word(), item.id);
    for (language, text) in &item.title {
        println!("    {language}         {text}");
    }
    match item.level {
        Some(Level::Person) => println!("    of         person"),
        Some(Level::Household) => println!("    of         household"),
        None => {}
    }
    let dated = if item.sort == Sort::Parameter { dated_values(item) } else { Vec::new() };
    for (path, text) in &item.details {
        let is_shown = path == "of" || (path.starts_with("values.") && !dated.is_empty());
        if !is_shown {
            println!("    {path:<10} {text}");
        }
    }
    dated.iter().for_each(|value| println!("    {value}"));
    for passage in &item.passages {
        println!("    {:<10} {}", passage.path, passage.text.trim());
        println!("               = {}", contents.cost(item, passage));
    }
    print_neighbours("reads", item.reads.iter().flat_map(|id| contents.named(id)));
    print_neighbours("read by", contents.readers(&item.id));
}

/// A parameter's values, a line each: from when, how much, says who.
fn dated_values(item: &Item) -> Vec<String> {
    let value = |index: usize| {
        let part = |name: &str| item.detail(&format!("values.{index}.{name}"));
        Some(format!("from {}  {}  {}", part("from")?, part("is")?, part("source").unwrap_or_default()))
    };
    (0..).map_while(value).collect()
}

fn print_neighbours<'c>(title: &str, items: impl Iterator<Item = &'c Item>) {
    for (index, item) in items.enumerate() {
        let english = item.title.get("en").or_else(|| item.title.values().next()).map_or("", String::as_str);
        println!("    {:<10} {} {}  {english}", if index == 0 { title } else { "" }, item.sort.word(), item.id);
    }
}
