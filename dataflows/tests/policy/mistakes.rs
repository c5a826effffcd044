use super::{CATEGORIES, CRITERIA, FAMILY, POLICY, SINGLE, package};
use dataflows::policy::{Policy, Problem};

/// A place in a package, a text there and what stands instead; without a text it is added at the end of the file, which need
/// not be there.
pub type Edit<'e> = (&'e str, &'e str, &'e str);

pub fn edited(edits: &[Edit<'_>]) -> Vec<(String, String)> {
    let mut files = package();
    for (path, from, to) in edits {
        match files.iter_mut().find(|(known, _)| known == path) {
            Some((_, text)) if from.is_empty() => text.push_str(to),
            Some((_, text)) => {
                assert!(text.contains(from), "{path} has no {from}");
                *text = text.replacen(from, to, 1);
            }
            None => files.push((path.to_string(), to.to_string())),
        }
    }
    files
}

/// What is said of the package after these edits.
fn problems(edits: &[Edit<'_>]) -> Vec<Problem> {
    Policy::load(&edited(edits)).map(|_| ()).expect_err(edits[0].2)
}

/// The mistake of whose message and hint these are parts must be told of, where `marker` begins in the edited file.
fn check(edits: &[Edit<'_>], marker: &str, message: &str, hint: &str) -> Result<(), String> {
    let found = problems(edits);
    let near = |problem: &&Problem| problem.message.contains(message) && problem.hint.as_deref().unwrap_or_default().contains(hint);
    let Some(problem) = found.iter().find(near) else {
        return Err(format!("{}: {found:#?}", edits[0].2));
    };
    if marker.is_empty() {
        return Ok(());
    }
    let (path, _, to) = edits[0];
    let text = edited(edits).into_iter().find(|(known, _)| known == path).expect("a file").1;
    let at = text.find(marker).unwrap_or_else(|| panic!("{to}: no {marker}"));
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1;
    match (problem.file.as_str(), problem.line, problem.column) == (path, line, column) {
        true => Ok(()),
        false => Err(format!("{to}: expected at {line}:{column}: {problem:?}")),
    }
}

/// File, text, what stands instead; marker, message and hint: see [`check`].
type Case<'c> = (&'c str, &'c str, &'c str, &'c str, &'c str, &'c str);

fn check_all(cases: &[Case<'_>]) {
    let wrong = cases.iter().filter_map(|(path, from, to, marker, message, hint)| check(&[(path, from, to)], marker, message, hint).err());
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Expressions of one more indicator; the marker stands in them.
fn check_expressions(of: &str, cases: &[(&str, &str, &str, &str)]) {
    let head = format!("[probe]\ntitle = {{ en = \"Probe\" }}\nsource = \"test\"\nof = \"{of}\"\nvalue = ");
    let wrong = cases.iter().filter_map(|(value, marker, message, hint)| {
        check(&[("indicators/probe.toml", "", &format!("{head}\"{value}\""))], marker, message, hint).err()
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_are_explained_where_they_are() {
    let (i, p) = ("indicators/all.toml", "parameters.toml");
    let proposal = |of: &str, quantile: i64, at_least: &str| {
        let rest = format!("quantile = {quantile}, share = 350, at_least = \"{at_least}\" }}");
        format!("is = 3932 }}]\n[LINE]\nunit = \"KZT\"\nvalues = [{{ from = 2025-01-01, is = 1 }}]\npropose = {{ of = \"{of}\", {rest}")
    };
    let cases: &[Case<'_>] = &[
        // Names.
        (i, "c.from, c.to", "c.from, c.too", "c.too", "reg.car has no field `too`", "did you mean `to`?"),
        (i, "reg.pay.distinct", "reg.pai.distinct", "reg.pai", "no register is called `reg.pai`", "did you mean `reg.pay`?"),
        (i, "members.filter(m, m.child)", "members.filter(m, m.chil)", "m.chil)", "nothing is called `chil` here", "did you mean `child`?"),
        (i, "previous_quarter()", "previous_quartre()", "previous_quartre", "a window is needed here", "did you mean `previous_quarter`?"),
        (i, "m.cars > 0", "age(m.birth_date) > children", "children)", "`children` does not belong to a member", "take it outside"),
        (i, "reg.person.map(p, p.birth_date).max()", "reg.person.map(p, p.name).max()", "p.name", "`name` is only shown", ""),
        (i, "reg.person.map(p, p.birth_date).max()", "reg.person", "reg.person\"", "`reg.person` is a register", ""),
        (
            "criteria.toml",
            "by = \"children\"",
            "by = \"childrens\"",
            "childrens",
            "nothing is called `childrens`",
            "did you mean `children`?",
        ),
        ("benefits/family.toml", "16.03 MRP", "16.03 MPR", "MPR", "nothing is called `MPR`", "did you mean `MRP`?"),
        ("registers/reg.toml", "birth_date = \"date\"", "birth_date = \"dat\"", "dat\"", "there is no type `dat`", "did you mean `date`?"),
        (
            "registers/reg.toml",
            "key = \"{period}-{employer}\"",
            &format!("key = \"{}{{employer}}\"", "{period}-".repeat(8)),
            "{period}-{period}",
            "`key` is made of at most 8 fields",
            "",
        ),
        // Aliases.
        (
            i,
            "reg.pay.distinct(p, p.employer)",
            "reg.act.filter(r, r.former == self).size()",
            "r.former",
            "`former` is a number given up",
            "",
        ),
        ("registers/reg.toml", "[\"former\", \"now\"]", "[\"formr\", \"now\"]", "formr\"", "no field `formr`", "did you mean `former`?"),
        ("registers/reg.toml", "[\"former\", \"now\"]", "[\"former\"]", "[\"reg.act\".alias]", "`of` must name two fields", ""),
        ("registers/reg.toml", "[\"former\", \"now\"]", "[\"now\", \"now\"]", "now\"]", "cannot stand for itself", ""),
        ("registers/reg.toml", "from = \"since\"\n", "", "[\"reg.act\".alias]", "`from` is missing", ""),
        ("registers/reg.toml", "from = \"since\"\n", "from = \"now\"\n", "now\"\nreported", "`now` has another type than is needed", ""),
        (
            "registers/reg.toml",
            "secret = \"hidden\"",
            "secret = \"since\"",
            "since\"\ncloses",
            "`since` has another type than is needed",
            "",
        ),
        (
            "registers/reg.toml",
            "\"reg.act.other\"",
            "\"reg.akt.other\"",
            "reg.akt",
            "no \"agency.register.field\" of a global",
            "did you mean `reg.act`?",
        ),
        (
            "registers/reg.toml",
            "\"reg.act.other\"",
            "\"reg.act.oter\"",
            "reg.act.oter",
            "reg.act has no field `oter`",
            "did you mean `other`?",
        ),
        ("registers/reg.toml", "\"reg.act.other\"", "\"reg.pay.employer\"", "reg.pay.emp", "no \"agency.register.field\" of a global", ""),
        (
            "registers/reg.toml",
            "identity = \"global\"\n",
            "",
            "[\"reg.act\".alias]",
            "an alias is about two numbers, and for ever",
            "global",
        ),
        (
            "registers/reg.toml",
            "key = \"{number}\"",
            "key = \"{number}\"\nretain = \"9 months\"",
            "[\"reg.act\".alias]",
            "for ever",
            "forever",
        ),
        (
            "registers/reg.toml",
            "year = \"int\"",
            "buyer = \"person\"",
            "\"reg.car\"]",
            "`buyer` names another person",
            "identity = \"global\"",
        ),
        ("registers/reg.toml", "retain = \"15", "retian = \"15", "retian", "unknown key `retian`", "did you mean `retain`?"),
        (p, "is = 3932 }]", &proposal("per_capitta", 500, "MRP"), "per_capitta", "called `per_capitta`", "did you mean `per_capita`?"),
        (p, "is = 3932 }]", &proposal("cars", 500, "MRP"), "cars\"", "no indicator of households is called `cars`", ""),
        (p, "is = 3932 }]", &proposal("any_car", 500, "MRP"), "any_car", "`any_car` is no number", ""),
        (p, "is = 3932 }]", &proposal("per_capita", 0, "MRP"), "{ of", "`quantile` is in thousandths, from 1 to 1000", ""),
        (p, "is = 3932 }]", &proposal("per_capita", 500, "MPR"), "MPR", "no other parameter is called `MPR`", "did you mean `MRP`?"),
        (p, "is = 3932 }]", &proposal("per_capita", 500, "LINE"), "LINE\" }", "no other parameter is called `LINE`", ""),
        // Types and units.
        (i, "k.kind == 'parent'", "k.kind == 'parnet'", "== 'parnet'", "'parnet' is not one of", "did you mean `parent`?"),
        (i, "p.amount).sum() / 3", "p.employer).sum() / 3", "p.employer).sum", "a number is needed here, not an id", ""),
        (i, "m.cars > 0", "m.cars > m.birth_date", "> m.birth_date", "a number cannot be compared with a date", ""),
        (i, "m.cars > 0", "m.income > MRP", "> MRP", "KZT/month and KZT do not go together", ""),
        (i, "unit = \"date\"", "unit = \"KZT\"", "KZT\"\nvalue = \"reg.person", "the unit is declared as KZT", ""),
        (i, "round = \"down\"", "", "/ 3", "this is a fraction", "round = "),
        (i, ".sum() / 3", ".sum() * 0.5", "0.5", "decimals stand only in amounts", ""),
        (i, "m.cars > 0", "m.cars", "m.cars)\"", "a condition must be true or false", ""),
        // Values of the household in a person's right.
        (
            "benefits/single.toml",
            "age(birth_date) >= 18",
            "reg.pay.exists(p, p.amount > per_capita)",
            "exists(p",
            "a macro over records does not know the household's values",
            "make an indicator of the list",
        ),
        (
            "benefits/single.toml",
            "age(birth_date) >= 18",
            "past(add_months(head_born, cars))",
            "past",
            "`past` waits for a person's date",
            "make",
        ),
        (i, "reg.pay.distinct(p, p.employer)", "children + 1", "children + 1", "`children` is an indicator of households", "only rights"),
        // Shapes.
        (i, "members.filter(m, m.child).size()", "members.distinct(m, m.cars)", "distinct(m", "do not add up", "count members"),
        (i, "members.map(m, m.cars).max()", "members.map(m, m.income).max()", "max()\"\n[any", "does not add up", "classes = N"),
        (
            i,
            "members.map(m, m.income).sum()",
            "members.map(m, m.income / 2).sum()",
            "/ 2",
            "fractions of members are not summed",
            "after the macro",
        ),
        (
            i,
            "members.filter(m, m.child)",
            "members.filter(m, age(m.birth_date) < 1 && members.size() > 0)",
            "size() > 0",
            "macros do not nest",
            "",
        ),
        (i, "head.birth_date", "age(head.birth_date)", "age(", "households have none", ""),
        (
            i,
            "[orphan]",
            "[loop_a]\ntitle = { en = \"x\" }\nsource = \"s\"\nof = \"person\"\nvalue = \"loop_a + 1\"\n[orphan]",
            "loop_a + 1",
            "`loop_a` is computed from itself: loop_a → loop_a",
            "",
        ),
        ("policy.toml", "alive = \"", "alive = \"!head && ", "&& !reg", "must not rest on the person's role", ""),
        ("policy.toml", "minor = \"age(birth_date) < 18\"", "minor = \"kin.size() > 0\"", "kin.size() > 0", "`kin` is not known", ""),
        // Bins.
        ("criteria.toml", "\"1..3\" = 10", "\"1..2\" = 10", "\"3..\" = -30", "there is a gap, 2..3: 2 falls in no bin", ""),
        ("criteria.toml", "\"1..3\" = 10", "\"1..4\" = 10", "\"3..\" = -30", "this bin overlaps `1..4`: 3 falls in both", ""),
        ("criteria.toml", "\"1..3\" = 10", "\"3..1\" = 10", "\"3..1\"", "`3..1` is no bin", ""),
        ("criteria.toml", "unknown = 7", "", "c_children]", "`unknown` is missing", "unknown = 0"),
        // Completeness.
        ("benefits/family.toml", "source = \"test\"", "", "\nid = ", "`source` is missing", ""),
        (i, "title = { en = \"Cars\" }", "title = { ru = \"Cars\" }", "title = { ru", "`title` is missing in en", ""),
        ("registers/reg.toml", "[\"reg.death\"]", "[\"shanyraq.death\"]", "\"shanyraq.death\"", "the engine's own", ""),
        ("registers/reg.toml", "enum(family|single|meal)", "enum(single|meal)", "", "`family` is not among the words", "add it"),
        ("benefits/family.toml", "period = \"month\"", "period = \"month\"\nproactive = 2026-01-01", "", "messages.toml has no offer", ""),
        (
            "policy.toml",
            "[assignment]",
            "[story]\npeople = [{ register = \"reg.persn\" }]\n[assignment]",
            "reg.persn",
            "no register is called",
            "reg.person",
        ),
        (i, "m.cars > 0", "m.cars > -9223372036854775807", "9223372036854775807", "numbers lie within", ""),
        // Syntax.
        (i, "m.cars > 0", "m.cars > ", ")\"\n[head_born]", "not an expression", ""),
        ("policy.toml", "version = \"1\"", "version = 1", "1\nfrom", "`version` must be a text", ""),
        ("policy.toml", "version = \"1\"", "version = ", "\nfrom", "", ""),
    ];
    check_all(cases);
}

const TITLED: &str = "title = { en = \"x\" }\nsource = \"test\"\n";

#[test]
fn files_and_what_every_declaration_has() {
    let (i, cars) = ("indicators/all.toml", "title = { en = \"Cars\" }");
    check_all(&[
        ("fautls.toml", "", "", "", "a package has no file `fautls.toml`", "did you mean `faults.toml`?"),
        ("indicator/x.toml", "", "", "", "a package has no folder `indicator`", "did you mean `indicators`?"),
        ("categories.toml", "[level]", "[levle]", "levle", "unknown key `levle`", "did you mean `level`?"),
        ("policy.toml", "from = 2026-01-01\nperson", "person", "\nid", "`from` is missing", ""),
        ("policy.toml", "languages = [\"en\"]\n", "", "\nid", "`languages` is missing", ""),
        ("policy.toml", "person = \"integer\"", "person = \"passport\"", "passport", "`person` cannot be \"passport\"", "\"iin\""),
        (i, cars, "title = { en = \"Cars\", de = \"Autos\" }", "de =", "the package has no language `de`", ""),
        (i, cars, "title = { en = 7 }", "7 }", "`title` must be a text in each language", ""),
        (i, "title = { en = \"Cars\" }\n", "", "cars]\nsource", "`title` is missing", ""),
        (i, "round = \"down\"", "round = 5", "5\n", "`round` must be a text, not an integer", ""),
        (i, "classes = 4", "classes = \"four\"", "four", "`classes` must be an integer, not a text", ""),
        (i, "classes = 4", "helper = 1", "1\nvalue", "`helper` must be true or false, not an integer", ""),
        (i, "classes = 4", "classes = 4\nunknown = 1.5", "1.5", "an integer, a boolean or a text is needed here", "16.03 MRP"),
        ("policy.toml", "from = 2026-01-01", "from = 2026", "2026\nperson", "`from` must be a date such as 2026-01-01, not an integer", ""),
        ("policy.toml", "languages = [\"en\"]", "languages = \"en\"", "en\"\n", "`languages` must be a list, not a text", ""),
        ("policy.toml", "languages = [\"en\"]", "languages = [1]", "1]", "`languages` must be a list of texts, not an integer", ""),
        ("faults.toml", "", "odd = 5", "5", "a table is expected here, not an integer", ""),
    ]);
    let without: Vec<_> = package().into_iter().filter(|(path, _)| path != "policy.toml").collect();
    let problems = Policy::load(&without).expect_err("a package without its head");
    assert!(problems.iter().any(|problem| problem.message == "the package has no policy.toml"), "{problems:#?}");
}

#[test]
fn registers() {
    let r = "registers/reg.toml";
    let register = |name: &str, rest: &str| format!("[\"{name}\"]\n{TITLED}key = \"{{a}}\"\ncadence = \"1 day\"\n{rest}");
    let fields: String = (0..200).map(|index| format!("field_{index} = \"int\"\n")).collect();
    let tie = |kind: &str, of: &str| format!("[\"reg.death\".tie]\nkind = \"{kind}\"\nof = {of}\n");
    check_all(&[
        (r, "[\"reg.death\"]\n", "[\"death\"]\n", "\"death\"", "`death` is no name of a register", "[\"agency.register\"], in quotes"),
        ("registers/b.toml", "", &register("reg.death", "fields = {}"), "\"reg.death\"", "the register `reg.death` is declared twice", ""),
        ("registers/b.toml", "", &register("reg.new", ""), "\"reg.new\"", "`fields` is missing", ""),
        (
            "registers/b.toml",
            "",
            &register("reg.new", &format!("[\"reg.new\".fields]\n{fields}")),
            "\"reg.new\"",
            "a register has at most",
            "",
        ),
        (r, "\"45 days\"", "\"45 weeks\"", "45 weeks", "`cadence` cannot be \"45 weeks\"", "\"30 days\" or \"forever\""),
        (r, "died = \"date\"", "died = 5", "5\n", "a field's type must be a text", ""),
        (r, "died = \"date\"", "Died = \"date\"", "Died", "`Died` is no name of a field", ""),
        (r, "date, optional", "date, optionl", "date, optionl", "`optionl` says nothing of a field", "did you mean `optional`?"),
        (r, "{plate}", "{plaet}", "{plaet}", "`key` names `plaet`, which is no field", "did you mean `plate`?"),
        (r, "= \"period\"", "= \"perid\"", "perid", "reg.pay has no field `perid` that rules see", "did you mean `period`?"),
        (r, "= \"period\"", "= \"employer\"", "employer\"\n", "the field `employer` has another type than is needed here", ""),
        (r, "", &tie("parent", "[\"died\"]"), "[\"reg.death\".tie", "`of` must name 2 fields for this kind of tie", ""),
        (r, "", &tie("aunt", "[\"died\"]"), "aunt", "`kind` cannot be \"aunt\"", "\"guardian\""),
    ]);
}

#[test]
fn parameters_and_indicators() {
    let (i, p) = ("indicators/all.toml", "parameters.toml");
    let again = format!("[cars]\n{TITLED}of = \"person\"\nvalue = \"1\"\n");
    check_all(&[
        (p, "[MRP]", "[mrp]", "mrp", "parameters are named in capitals, not `mrp`", ""),
        (p, "is = 3932", "is = 3932.5", "{ from = 2025", "a value has `from`, a date, and `is`, an integer", ""),
        (p, "", "[EMPTY]\nunit = \"KZT\"\n", "EMPTY", "`values` is missing", ""),
        (p, "is = 3932 }]", "is = 3932 }]\npropose = { of = \"per_capita\", share = 350 }", "{ of", "`quantile` is missing", ""),
        ("indicators/more.toml", "", &again, "cars", "the indicator `cars` is declared twice", ""),
        (i, "[sex]", "[head]", "head]", "`head` cannot be the name of an indicator", ""),
        (i, "value = \"head.birth_date\"\n", "", "head_born", "`value` is missing", ""),
        (i, "classes = 4", "classes = 40", "cars]", "`classes` lies between 2 and 16", ""),
        (i, "classes = 4", "unknown = true", "size()\"\n[employers]", "`unknown` is a boolean, but the value is a number", ""),
    ]);
}

#[test]
fn names_and_types_of_a_persons_expressions() {
    let deep = format!("{}1{}", "(cars + ".repeat(30), ")".repeat(30));
    let long = vec![deep.as_str(); 60].join(" + ");
    check_expressions(
        "person",
        &[
            ("'a'", "'a'", "'a' alone says nothing; words are only compared", ""),
            (&long, "", "this expression is too long; make an indicator of a part of it", ""),
            ("[1, 2]", "[1", "a list in brackets stands only to the right of `in`", ""),
            ("sex in cars", "in", "`in` needs a list of words or numbers in brackets on its right", ""),
            ("sex in [1]", "1]", "a word is needed here", ""),
            ("has(cars + 1)", "has", "has(..) asks after a field or an indicator by its name", ""),
            ("true ? 1 : sex", "?", "either a number or one of M | F: both sides of `:` must be alike", ""),
            ("birth_date + 1", "+ 1", "dates are not added", "use add_days(date, n)"),
            ("(1 / 2) % 2", "% 2", "a remainder needs whole numbers", ""),
            ("birth_date == 1", "== 1", "a date cannot be compared with a number", ""),
            ("points(c_childern, 1)", "c_childern", "no criterion with bins is called `c_childern`", "did you mean `c_children`?"),
            ("points(c_children, 1 / 2)", "/ 2", "bins need a whole number", "make an indicator of it, with `round`"),
            ("add_days(birth_date, 1 / 2)", "/ 2", "a whole number is needed here", ""),
            ("last_months(3)", "last_months", "`last_months` is a window; it stands only in within(date, last_months(..))", ""),
            ("age(birth_date, 1)", "age(", "`age` is not used like this", ""),
            ("agee(birth_date)", "agee", "there is no function `agee`", "did you mean `age`?"),
            ("age(cars)", "cars)", "a date is needed here, not a number", ""),
            ("age(birth_date).x", "", "`.x` follows something that has no fields", ""),
            ("{'a': 1}", "", "this part of CEL is not part of the policy language", ""),
            ("0.12345678901234567", "0.123", "this decimal number has too many digits", ""),
            ("null", "null", "values are integers, booleans, dates and words", ""),
        ],
    );
}

#[test]
fn shapes_of_lists() {
    check_expressions(
        "person",
        &[
            ("members.size()", "members", "`members` is known to indicators and benefits of households only", ""),
            ("reg.pay.filter(p, true)", "filter", "a list is no value", "end it with .sum(), .max(), .min() or .size()"),
            ("reg.pay.count()", "count", "lists have no `.count` with 0 arguments", ""),
            ("(1 + 2).size()", "+ 2", "this is no list", "a list is REGISTER or members"),
            ("reg.pay.sum()", "sum", "what of the records is to be taken for `.sum()`?", "add .map(r, r.field)"),
            ("reg.pay.map(p, p.amount).exists(p, true)", "exists", "`.exists` does not follow `.map`", ""),
            ("reg.pay.exists(p.x, true)", "p.x", "a macro begins with a name for the record: filter(r, …)", ""),
            ("reg.pay.map(p, p.amount / 2).sum()", "/ 2", "records are condensed in whole numbers", "divide after the macro"),
            ("reg.pay.map(p, true).max()", "true", "booleans have no greatest", "use .exists(..) or .all(..)"),
        ],
    );
    check_expressions(
        "household",
        &[
            ("cars", "cars", "`cars` is an indicator of people", "members.map(m, m.cars).sum(), or head.cars"),
            (
                "reg.pay.size()",
                "size",
                "`reg.pay` is a list of a person; households have only `members`",
                "make an indicator of the person",
            ),
            ("members.map(m, m.orphan).sum()", "m.orphan", "booleans are not summed", "count: members.filter(m, …).size()"),
        ],
    );
}

#[test]
fn what_policy_toml_declares() {
    let p = "policy.toml";
    let known: String = (0..200).map(|index| format!("field_{index} = \"birth_date\", ")).collect();
    let contact = |phone: &str, language: &str| format!("[contact]\nphone = \"{phone}\"\nlanguage = \"{language}\"\n");
    check_all(&[
        (p, "\"age(birth_date) < 18\"", "\"age(birth_date)\"", "age(birth_date)", "this must be true or false", ""),
        (p, "when = \"reg.death.exists(d, past(d.died))\"\nfields", "fields", "[kin", "`when` is missing: only while it is true", ""),
        (p, "{ died", &format!("{{ {known}died"), "[kin", "kin may know at most", ""),
        (
            p,
            "benefit = \"benefit\"",
            "benefit = \"benefits\"",
            "benefits",
            "reg.assignment has no field `benefits`",
            "did you mean `benefit`?",
        ),
        (p, "benefit = \"benefit\"", "benefit = \"from\"", "[assignment", "`benefit` must name an enum field of benefit ids", ""),
        (
            p,
            "",
            &contact("reg.person.nam", "reg.person.name"),
            "reg.person.nam\"",
            "this register has no field `nam`",
            "did you mean `name`?",
        ),
        (p, "", &contact("reg.pay.amount", "reg.person.name"), "[contact", "`phone` and `language` must be of one register", ""),
        ("faults.toml", "", &format!("[odd]\n{TITLED}"), "odd", "`when` is missing: what contradicts itself", ""),
        ("messages.toml", "", "[ofer]\nen = \"x\"\n", "ofer", "there is no message `ofer`", "did you mean `offer`?"),
        ("messages.toml", "", "[offer]\nen = \"{amout}\"\n", "{amout}", "there is no placeholder `{amout}`", "did you mean `amount`?"),
    ]);
}

#[test]
fn criteria_categories_and_levels() {
    let (c, k) = ("criteria.toml", "categories.toml");
    let points = "points = { \"0\" = 50, \"1..3\" = 10, \"3..\" = -30 }";
    let words = format!("by = \"children\"\n{points}");
    assert!(CRITERIA.contains(points) && CATEGORIES.contains("[level]\nbins"));
    check_all(&[
        (c, "by = \"children\"\n", "", "c_children", "a criterion has either `by` and `points`, or `value`", ""),
        (c, ", points = 5 }", " }", "{ reason", "an addition has `reason`, `when` and `points`", ""),
        (c, "\"children\"", "\"children / 2\"", "/ 2", "bins need a whole number, not a fraction", "make an indicator of it, with `round`"),
        (c, "\"children\"", "\"head_born\"", "head_born", "bins are of numbers, booleans and words", ""),
        (c, "\"0\" = 50", "\"0\" = \"x\"", "x\", \"1", "a bin gives an integer", ""),
        (c, points, "points = 5", "5\nadd", "bins are a table such as { \"..10\" = 1, \"10..\" = 2 }", ""),
        (c, &words, "by = \"head.sex\"\npoints = { \"M\" = 1 }", "\"M\"", "no bin for F", ""),
        (c, &words, "by = \"any_car\"\npoints = { \"true\" = 1 }", "\"true\"", "no bin for false", ""),
        (c, &words, "by = \"any_car\"\npoints = { \"yes\" = 1 }", "\"yes\"", "`yes` is no bin of this value", "\"true\" or \"false\""),
        (k, "has(most_cars) && most_cars >= 3", "children", "children\"", "a condition must be true or false", ""),
        (k, "unknown = 2\n", "", "category]", "`unknown` is missing", "say which category not knowing gives"),
        (k, "bins = { \"..0\" = 1, \"0..60\" = 2, \"60..\" = 3 }\n", "", "category]", "`bins` is missing", ""),
        (k, "\"..0\" = 1", "\"..0\" = 0", "category]", "categories are numbers from 1 to 255", ""),
        (k, ", category = 3 }", " }", "{ reason", "a hard rule has `reason`, `when` and `category`", ""),
        (k, "bins = { \"..1\" = \"B\", \"1..\" = \"A\" }\n", "", "level]", "`bins` is missing", ""),
        (k, "\"..1\" = \"B\"", "\"..1\" = 2", "2, \"1", "a level is a letter in quotes", ""),
    ]);
}

#[test]
fn rights() {
    let (f, s) = ("benefits/family.toml", "benefits/single.toml");
    let many: String = (0..70).map(|index| format!("more_{index} = \"true\"\n")).collect();
    let amount = "[amount]\nunit = \"KZT\"\nvalue = \"1000 * (cars + 1)\"\n";
    assert!(SINGLE.contains(amount) && FAMILY.contains("period = \"month\"") && POLICY.contains("[kin]"));
    let period = |more: &str| format!("period = \"month\"\n{more}");
    check_all(&[
        (f, "period = \"month\"", &period("excludes = [\"singel\"]"), "singel", "no benefit is called `singel`", "did you mean `single`?"),
        (f, "period = \"month\"", &period("excludes = [\"family\"]"), "family\"]", "`family` excludes itself: family → family", ""),
        (f, "id = \"family\"", "id = \"famly\"", "famly", "`id` is \"famly\", but the file is family.toml", "make them equal"),
        (f, "period = \"month\"", &period("answers = true"), "\nid", "`answers` needs applications to answer", "ground = a register"),
        (f, "[when]\n", "[while]\nstands = \"true\"\n[when]\n", "[while]", "`while` is of applications, with `answers = true`", "put its"),
        (f, "[when]\n", &format!("[when]\n{many}"), "\nid", "a right has at most 62 conditions", ""),
        (f, "period = \"month\"", &period("ground = \"reg.car\""), "reg.car", "a household's right has `ground = \"constant\"`", ""),
        (f, "period = \"month\"", &period("inherit = \"cash\""), "cash", "policy.toml has no [inherit.cash]", ""),
        (f, "[when]\ntwo = \"children >= 2\"\npoor = \"per_capita < 5000\"\n", "", "\nid", "`when` is missing: a right has at least", ""),
        (s, "until = \"r.to\"", "until = \"cars\"", "cars\"\n", "a date is needed here", ""),
        (
            f,
            "period = \"month\"",
            &period("proactive = { by = \"children\" }"),
            "{ by",
            "`proactive` is a date, or has `by` and `from`",
            "",
        ),
        (
            f,
            "period = \"month\"",
            &period("proactive = { by = \"children\", from = { \"1..\" = 2 } }"),
            "2 } }",
            "a date is needed here, such as 2025-09-01",
            "",
        ),
        (s, "period = \"once\"", "period = \"once\"\nkind = \"notice\"", "[amount", "only a payment has an amount", ""),
        (s, amount, "", "\nid", "`[amount]` is missing; a right without one is", ""),
        (s, "unit = \"KZT\"", "unit = \"KZT\"\nby = \"cars\"", "[amount", "an amount has either `value`, or `by` and `pay`", ""),
        (s, "1000 * (cars + 1)", "income", "income", "the amount is in KZT, but this is in KZT/month", ""),
    ]);
    let circle = [
        (s, "period = \"once\"", "period = \"once\"\nexcludes = [\"family\"]"),
        (f, "period = \"month\"", &period("excludes = [\"single\"]")),
    ];
    check(&circle, "", "`family` excludes itself: family → single → family", "").unwrap();
    let twice = [
        (f, "period = \"month\"", &*period("inherit = \"cash\"")),
        ("policy.toml", "", "[inherit.cash]\nhousehold = { two = \"true\" }\n"),
    ];
    check(&twice, "two =", "the condition `two` is there twice", "").unwrap();
    let around = format!("[a]\n{TITLED}of = \"person\"\nvalue = \"b + 1\"\n[b]\n{TITLED}of = \"person\"\nvalue = \"cars + a\"\n");
    check(&[("indicators/circle.toml", "", &around)], "a\"", "`a` is computed from itself: a → b → a", "").unwrap();
}

#[test]
fn there_is_room_for_so_much_and_no_more() {
    let indicators = |count: usize, value: &dyn Fn(usize) -> String| -> String {
        (0..count).map(|index| format!("[probe_{index}]\n{TITLED}of = \"household\"\nvalue = \"{}\"\n", value(index))).collect()
    };
    let sums = indicators(83, &|index| {
        let sums = (0..50).map(|number| format!("members.map(m, m.cars + {}).sum()", index * 50 + number));
        sums.collect::<Vec<_>>().join(" + ")
    });
    check(&[("indicators/sums.toml", "", &sums)], "", "more than 4096 sums over members", "").unwrap();
    let constants = indicators(60, &|index| {
        let constants = (0..1000).map(|number| (1_000_000 + index * 1000 + number).to_string());
        format!("children in [{}]", constants.collect::<Vec<_>>().join(", "))
    });
    check(&[("indicators/constants.toml", "", &constants)], "", "the package computes more values than the engine has room for", "")
        .unwrap();
}
