use shanyraq::commands::package_texts;
use std::path::Path;

/// The texts of a package, by file.
pub type Texts = Vec<(String, String)>;

/// Replaces what stands once in a file.
pub fn edit(texts: &mut Texts, file: &str, from: &str, to: &str) {
    let (_, text) = texts.iter_mut().find(|(name, _)| name == file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
    *text = text.replace(from, to);
}

/// Writes a package into a folder.
pub fn write(texts: &Texts, folder: &Path) {
    for (name, text) in texts {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The package with nothing but another version.
pub fn renamed(version: &str) -> Texts {
    let mut texts = package_texts("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    edit(&mut texts, "policy.toml", "\"2026.1\"", &format!("{version:?}"));
    texts
}

/// A later package: all amounts that rest on the index are others, one benefit is gone, one is new, and so is a register; both stand
/// before all that there were, so that whatever is known by its number has another.
pub fn later() -> Texts {
    let mut texts = renamed("2026.2");
    edit(&mut texts, "parameters.toml", "is = 4325", "is = 4500");
    let at = texts.iter().position(|(name, _)| name == "benefits/loc_transport_pass.toml").unwrap();
    let (_, pass) = texts.remove(at);
    let town =
        pass.replace("loc_transport_pass", "aaa_town_pass").replace("edu_pupil || soc_pensioner || hlt_disability_group != 0", "edu_pupil");
    texts.push(("benefits/aaa_town_pass.toml".to_owned(), town));
    let register = "[\"aaa.visit\"]\ntitle = { kk = \"Бару\", ru = \"Посещение\", en = \"Visit\" }\nsource = \"[assumed]\"\nkey = \"{day}\"\ncadence = \"7 days\"\nretain = \"forever\"\n[\"aaa.visit\".fields]\nday = \"date\"\n";
    texts.push(("registers/aaa.toml".to_owned(), register.to_owned()));
    texts
}
