use super::catalog::query;
#[test]
fn smoke() {
    for n in 1..=22 {
        let text = std::fs::read_to_string(format!("/work/shared/tpch/queries/q{n:02}.sql")).unwrap();
        let q = query(&text);
        println!("Q{n}\n{}\n", super::render::render(&q));
    }
}
