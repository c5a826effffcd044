-- The rules by which the engine is compared with others. A child belongs to the household of the parent, everybody else to their own.
--   person(person, child BOOLEAN, parent NULL), income(person, source, amount), loan(person, contract, balance, overdue)
WITH by_person AS (
    SELECT person, coalesce(parent, person) AS household, child,
        (SELECT coalesce(sum(amount), 0) FROM income WHERE income.person = person.person) AS income,
        (SELECT coalesce(sum(balance), 0) FROM loan WHERE loan.person = person.person) AS debt,
        (SELECT count(*) FROM loan WHERE loan.person = person.person AND overdue > 90) AS in_arrears
    FROM person),
by_household AS (
    SELECT household, count(*) AS members, count(*) FILTER (WHERE child) AS children, sum(income) AS income, sum(debt) AS debt, sum(in_arrears) AS arrears
    FROM by_person GROUP BY household),
judged AS (
    SELECT household,
        CASE WHEN income // members < 50000 THEN 30 WHEN income // members < 100000 THEN 20 WHEN income // members < 200000 THEN 10 ELSE 0 END
        + CASE WHEN children < 1 THEN 0 WHEN children < 4 THEN 5 ELSE 15 END
        + CASE WHEN debt // greatest(1, income) < 12 THEN 0 WHEN debt // greatest(1, income) < 36 THEN 5 ELSE 10 END
        + CASE WHEN arrears < 1 THEN 0 ELSE 10 END AS score
    FROM by_household)
SELECT household, score, CASE WHEN score < 5 THEN 5 WHEN score < 15 THEN 4 WHEN score < 25 THEN 3 WHEN score < 40 THEN 2 ELSE 1 END AS category FROM judged
