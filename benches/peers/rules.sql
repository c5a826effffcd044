-- The rules by which the engine is compared with others: 32 indicators of a household, their points, a category. A child belongs to the household of the
-- parent, everybody else to their own.
--   person(person, child), parent(person, parent), income(person, item, kind, amount), loan(person, item, balance, payment, overdue),
--   property(person, item, kind, value, area), benefit(person, item, kind, amount), employment(person, item, hours, service, official),
--   study(person, item, level, fee), health(person, item, kind, days)
-- Kinds: of income 0 wages, 1 business, 2 rent, 3 other; of property 0 a dwelling, 1 a car, 2 a plot, 3 other; of a benefit 0 assistance, 1 a pension, 2 other;
-- of a finding 0 passing, 1 chronic, 2 a disability. The level of a study is 0 at school.
WITH lives AS (
    SELECT person, coalesce(parent, person) AS household, child FROM person LEFT JOIN parent USING (person)),
people AS (
    SELECT household, count(*) AS members, sum(child) AS children FROM lives GROUP BY household),
incomes AS (
    SELECT household, sum(amount) AS income, count(*) AS sources, count(*) FILTER (WHERE amount < 30000) AS small_incomes,
        sum(amount) FILTER (WHERE kind = 0) AS wages, sum(amount) FILTER (WHERE kind = 1) AS business, sum(amount) FILTER (WHERE kind = 2) AS rent
    FROM income JOIN lives USING (person) GROUP BY household),
owed AS (
    SELECT household, sum(balance) AS debt, sum(payment) AS payments, count(*) AS loans, count(*) FILTER (WHERE overdue > 90) AS arrears,
        sum(overdue) AS overdue
    FROM loan JOIN lives USING (person) GROUP BY household),
owned AS (
    SELECT household, sum(value) AS property, sum(area) FILTER (WHERE kind = 0) AS area, count(*) FILTER (WHERE kind = 1) AS cars,
        count(*) FILTER (WHERE kind = 2) AS plots, count(*) FILTER (WHERE value >= 20000000) AS dear_things
    FROM property JOIN lives USING (person) GROUP BY household),
paid AS (
    SELECT household, sum(amount) AS benefit, count(*) AS benefits, count(*) FILTER (WHERE kind = 0) AS assistance,
        sum(amount) FILTER (WHERE kind = 1) AS pensions
    FROM benefit JOIN lives USING (person) GROUP BY household),
worked AS (
    SELECT household, count(*) AS jobs, sum(hours) AS hours, count(*) FILTER (WHERE hours >= 40) AS full_time_jobs,
        count(*) FILTER (WHERE official = 0) AS unofficial_jobs, sum(service) AS service
    FROM employment JOIN lives USING (person) GROUP BY household),
studied AS (
    SELECT household, count(*) AS studies, count(*) FILTER (WHERE level = 0) AS at_school, sum(fee) AS fees
    FROM study JOIN lives USING (person) GROUP BY household),
found AS (
    SELECT household, count(*) FILTER (WHERE kind = 2) AS disabilities, sum(days) AS sick_days
    FROM health JOIN lives USING (person) GROUP BY household),
by_household AS (
    SELECT household, coalesce(COLUMNS(* EXCLUDE household), 0)::BIGINT
    FROM people LEFT JOIN incomes USING (household) LEFT JOIN owed USING (household) LEFT JOIN owned USING (household)
    LEFT JOIN paid USING (household) LEFT JOIN worked USING (household) LEFT JOIN studied USING (household) LEFT JOIN found USING (household)),
-- What follows is of a household's sums alone.
indicators AS (
    SELECT household,
        members AS household_size,
        children,
        income // members AS income_per_head,
        wages * 100 // greatest(1, income) AS earned_share,
        business AS business_income,
        rent AS rent_income,
        sources,
        small_incomes,
        debt // greatest(1, income) AS months_of_debt,
        payments * 100 // greatest(1, income) AS payment_share,
        loans,
        arrears,
        overdue // greatest(1, loans) AS overdue_per_loan,
        property // members AS property_per_head,
        area // members AS area_per_head,
        cars,
        plots,
        dear_things,
        benefit // members AS benefits_per_head,
        benefits,
        assistance,
        pensions * 100 // greatest(1, income) AS pension_share,
        jobs,
        hours // members AS hours_per_head,
        full_time_jobs,
        unofficial_jobs,
        service // greatest(1, jobs) AS service_per_job,
        studies,
        at_school,
        fees // members AS fees_per_head,
        disabilities,
        sick_days // members AS sick_days_per_head
    FROM by_household),
scored AS (
    SELECT household,
        CASE WHEN household_size < 2 THEN 0 WHEN household_size < 4 THEN 2 WHEN household_size < 6 THEN 5 ELSE 9 END
        + CASE WHEN children < 1 THEN 0 WHEN children < 4 THEN 5 ELSE 15 END
        + CASE WHEN income_per_head < 60000 THEN 30 WHEN income_per_head < 120000 THEN 20 WHEN income_per_head < 240000 THEN 10 ELSE 0 END
        + CASE WHEN earned_share < 20 THEN 10 WHEN earned_share < 50 THEN 6 WHEN earned_share < 80 THEN 2 ELSE 0 END
        + CASE WHEN business_income < 1 THEN 4 WHEN business_income < 150000 THEN 2 ELSE 0 END
        + CASE WHEN rent_income < 1 THEN 3 WHEN rent_income < 150000 THEN 1 ELSE 0 END
        + CASE WHEN sources < 3 THEN 8 WHEN sources < 6 THEN 4 ELSE 0 END
        + CASE WHEN small_incomes < 1 THEN 0 WHEN small_incomes < 3 THEN 2 ELSE 6 END
        + CASE WHEN months_of_debt < 12 THEN 0 WHEN months_of_debt < 36 THEN 5 ELSE 10 END
        + CASE WHEN payment_share < 25 THEN 0 WHEN payment_share < 50 THEN 4 ELSE 8 END
        + CASE WHEN loans < 2 THEN 0 WHEN loans < 4 THEN 2 ELSE 6 END
        + CASE WHEN arrears < 1 THEN 0 ELSE 10 END
        + CASE WHEN overdue_per_loan < 1 THEN 0 WHEN overdue_per_loan < 30 THEN 2 ELSE 5 END
        + CASE WHEN property_per_head < 2000000 THEN 12 WHEN property_per_head < 10000000 THEN 8 WHEN property_per_head < 30000000 THEN 4 ELSE 0 END
        + CASE WHEN area_per_head < 10 THEN 9 WHEN area_per_head < 20 THEN 6 WHEN area_per_head < 40 THEN 2 ELSE 0 END
        + CASE WHEN cars < 1 THEN 4 WHEN cars < 3 THEN 2 ELSE 0 END
        + CASE WHEN plots < 1 THEN 3 WHEN plots < 3 THEN 1 ELSE 0 END
        + CASE WHEN dear_things < 1 THEN 5 ELSE 0 END
        + CASE WHEN benefits_per_head < 10000 THEN 0 WHEN benefits_per_head < 30000 THEN 3 ELSE 7 END
        + CASE WHEN benefits < 2 THEN 0 WHEN benefits < 5 THEN 2 ELSE 6 END
        + CASE WHEN assistance < 1 THEN 0 WHEN assistance < 3 THEN 4 ELSE 8 END
        + CASE WHEN pension_share < 5 THEN 0 WHEN pension_share < 15 THEN 3 ELSE 6 END
        + CASE WHEN jobs < 1 THEN 12 WHEN jobs < 3 THEN 4 ELSE 0 END
        + CASE WHEN hours_per_head < 10 THEN 8 WHEN hours_per_head < 30 THEN 4 ELSE 0 END
        + CASE WHEN full_time_jobs < 1 THEN 5 ELSE 0 END
        + CASE WHEN unofficial_jobs < 1 THEN 0 WHEN unofficial_jobs < 2 THEN 3 ELSE 6 END
        + CASE WHEN service_per_job < 12 THEN 6 WHEN service_per_job < 60 THEN 3 ELSE 0 END
        + CASE WHEN studies < 1 THEN 0 WHEN studies < 3 THEN 2 ELSE 5 END
        + CASE WHEN at_school < 1 THEN 0 WHEN at_school < 3 THEN 2 ELSE 6 END
        + CASE WHEN fees_per_head < 20000 THEN 0 WHEN fees_per_head < 60000 THEN 2 ELSE 5 END
        + CASE WHEN disabilities < 1 THEN 0 WHEN disabilities < 3 THEN 10 ELSE 20 END
        + CASE WHEN sick_days_per_head < 5 THEN 0 WHEN sick_days_per_head < 20 THEN 3 ELSE 7 END AS score
    FROM indicators)
SELECT household, score, CASE WHEN score < 80 THEN 5 WHEN score < 95 THEN 4 WHEN score < 110 THEN 3 WHEN score < 130 THEN 2 ELSE 1 END AS category FROM scored
