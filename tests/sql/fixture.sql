-- The tables of fixture.rs for PostgreSQL: psql -f tests/sql/fixture.sql, then the files of slt/ can be compared with it.
SET timezone = 'UTC';
CREATE TABLE types (id int, i int, b bigint, d numeric(10,2), f double precision, s text, day date, at timestamp, flag boolean);
INSERT INTO types VALUES
    (1, 10, 10000000000, 10.50, 1.5, 'apple', '1995-01-01', '1995-01-01 12:00:00', true),
    (2, -7, NULL, -9.99, -2.25, 'Banana', '1970-01-01', NULL, false),
    (3, NULL, -1, NULL, 0, '', NULL, '1970-01-01 00:00:00', NULL),
    (4, 0, 0, 0.00, NULL, NULL, '1999-12-31', '1999-12-31 23:59:59.999999', true),
    (5, 2147483647, 9223372036854775807, 99999999.99, 1e300, 'äöü %_', '2000-02-29', '2024-02-29 12:34:56.123456', false),
    (6, -2147483648, -9223372036854775808, 0.01, 'NaN', 'apple pie', '2024-02-29', '1969-12-31 23:59:59.999999', NULL);
CREATE TABLE l (k int, v text);
INSERT INTO l VALUES (1, 'a'), (2, 'b'), (2, 'c'), (3, 'd'), (NULL, 'e'), (5, NULL), (NULL, 'g');
CREATE TABLE r (k int, w bigint);
INSERT INTO r VALUES (2, 20), (2, 21), (3, 30), (4, 40), (NULL, 50);
CREATE TABLE sales (region text, product text, quantity int, price numeric(8,2));
INSERT INTO sales VALUES ('north', 'pen', 3, 1.50), ('north', 'ink', 5, 19.99), ('south', 'pen', 2, 1.50), ('east', 'pen', 7, 1.75),
    ('south', 'ink', 1, 20.99), ('south', 'pen', 4, 1.25);
CREATE TABLE empty (k int, v text);
