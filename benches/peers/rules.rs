//! What `rules.sql` says, for the peers that are written in Rust: what a record adds to the sums of a household, and what the sums are worth.

/// What is added up over a household, one number for each indicator, in the order in which `judge` names them.
pub type Sums = [i64; 32];

/// What a record says beside its key.
pub type Values = [i64; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    Person,
    Parent,
    Income,
    Loan,
    Property,
    Benefit,
    Employment,
    Study,
    Health,
}

impl Register {
    pub const ALL: [Register; 9] = {
        use Register::*;
        [Person, Parent, Income, Loan, Property, Benefit, Employment, Study, Health]
    };

    pub fn named(name: &str) -> Option<Register> {
        Self::ALL.into_iter().find(|register| register.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Register::Person => "person",
            Register::Parent => "parent",
            Register::Income => "income",
            Register::Loan => "loan",
            Register::Property => "property",
            Register::Benefit => "benefit",
            Register::Employment => "employment",
            Register::Study => "study",
            Register::Health => "health",
        }
    }
}

/// Adds a record to the sums of a household, or takes it away with the sign −1.
pub fn add(sums: &mut Sums, sign: i64, register: Register, values: &Values) {
    let (from, parts) = parts(register, values);
    for (sum, part) in sums[from..].iter_mut().zip(parts) {
        *sum += sign * part;
    }
}

/// What a record adds, from which sum on.
fn parts(register: Register, values: &Values) -> (usize, [i64; 6]) {
    let [first, second, third] = *values;
    let one = |condition: bool| i64::from(condition);
    let amount_of = |kind: i64, amount: i64| amount * one(first == kind);
    match register {
        Register::Person => (0, [1, first, 0, 0, 0, 0]),
        Register::Parent => (0, [0; 6]),
        Register::Income => (2, [second, amount_of(0, second), amount_of(1, second), amount_of(2, second), 1, one(second < 30_000)]),
        Register::Loan => (8, [first, second, 1, one(third > 90), third, 0]),
        Register::Property => (13, [second, amount_of(0, third), one(first == 1), one(first == 2), one(second >= 20_000_000), 0]),
        Register::Benefit => (18, [second, 1, one(first == 0), amount_of(1, second), 0, 0]),
        Register::Employment => (22, [1, first, one(first >= 40), one(third == 0), second, 0]),
        Register::Study => (27, [1, one(first == 0), second, 0, 0, 0]),
        Register::Health => (30, [one(first == 2), second, 0, 0, 0, 0]),
    }
}

/// Score and category of a household.
#[rustfmt::skip] // The sums by register.
pub fn judge(sums: &Sums) -> (i64, i64) {
    let [
        members, children,
        income, wages, business, rent, sources, small_incomes,
        debt, payments, loans, arrears, overdue,
        property, area, cars, plots, dear_things,
        benefit, benefits, assistance, pensions,
        jobs, hours, full_time_jobs, unofficial_jobs, service,
        studies, at_school, fees,
        disabilities, sick_days,
    ] = *sums;
    let score = [
        points(members, 0, [(2, 2), (4, 5), (6, 9)]),
        points(children, 0, [(1, 5), (4, 15)]),
        points(income / members, 30, [(60_000, 20), (120_000, 10), (240_000, 0)]),
        points(wages * 100 / income.max(1), 10, [(20, 6), (50, 2), (80, 0)]),
        points(business, 4, [(1, 2), (150_000, 0)]),
        points(rent, 3, [(1, 1), (150_000, 0)]),
        points(sources, 8, [(3, 4), (6, 0)]),
        points(small_incomes, 0, [(1, 2), (3, 6)]),
        points(debt / income.max(1), 0, [(12, 5), (36, 10)]),
        points(payments * 100 / income.max(1), 0, [(25, 4), (50, 8)]),
        points(loans, 0, [(2, 2), (4, 6)]),
        points(arrears, 0, [(1, 10)]),
        points(overdue / loans.max(1), 0, [(1, 2), (30, 5)]),
        points(property / members, 12, [(2_000_000, 8), (10_000_000, 4), (30_000_000, 0)]),
        points(area / members, 9, [(10, 6), (20, 2), (40, 0)]),
        points(cars, 4, [(1, 2), (3, 0)]),
        points(plots, 3, [(1, 1), (3, 0)]),
        points(dear_things, 5, [(1, 0)]),
        points(benefit / members, 0, [(10_000, 3), (30_000, 7)]),
        points(benefits, 0, [(2, 2), (5, 6)]),
        points(assistance, 0, [(1, 4), (3, 8)]),
        points(pensions * 100 / income.max(1), 0, [(5, 3), (15, 6)]),
        points(jobs, 12, [(1, 4), (3, 0)]),
        points(hours / members, 8, [(10, 4), (30, 0)]),
        points(full_time_jobs, 5, [(1, 0)]),
        points(unofficial_jobs, 0, [(1, 3), (2, 6)]),
        points(service / jobs.max(1), 6, [(12, 3), (60, 0)]),
        points(studies, 0, [(1, 2), (3, 5)]),
        points(at_school, 0, [(1, 2), (3, 6)]),
        points(fees / members, 0, [(20_000, 2), (60_000, 5)]),
        points(disabilities, 0, [(1, 10), (3, 20)]),
        points(sick_days / members, 0, [(5, 3), (20, 7)]),
    ];
    let score = score.iter().sum();
    (score, points(score, 5, [(80, 4), (95, 3), (110, 2), (130, 1)]))
}

/// The points of the last of the steps that a value reaches, each with the value from which on it holds; the first before them.
fn points<const STEPS: usize>(value: i64, first: i64, steps: [(i64, i64); STEPS]) -> i64 {
    steps.iter().fold(first, |points, (from, step)| if value < *from { points } else { *step })
}
