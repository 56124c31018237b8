//! Dumps made up to show each rule: what is kept, what is dropped, what is an error, and in which order things happened.

use std::io::Cursor;

use super::*;

fn dump(rows: &str) -> String {
    format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<posts>\r\n{rows}\r\n</posts>")
}

fn question(id: u64, date: &str, more: &str) -> String {
    format!(
        "  <row Id=\"{id}\" PostTypeId=\"1\" CreationDate=\"{date}\" Title=\"T{id}\" Body=\"&lt;p&gt;B{id}&lt;/p&gt;\" {more} />\r\n"
    )
}

fn posts(xml: &str) -> Result<(Vec<Post>, Drops), String> {
    let mut posts = Posts::new(xml.as_bytes(), "Posts.xml");
    let read: Result<Vec<Post>, _> = posts.by_ref().collect();
    read.map(|read| (read, posts.drops().clone())).map_err(|error| error.to_string())
}

fn check_error(xml: &str, wanted: &str) {
    let error = posts(xml).expect_err("it must be refused");
    assert!(error.starts_with("'Posts.xml' is broken near byte ") && error.contains(wanted), "{error}");
}

#[test]
fn columns_are_read_as_they_stand_and_absent_ones_stay_absent() {
    let row = question(
        7,
        "2012-11-24T18:46:10.677",
        "Score=\"-3\" Tags=\"|a|b|\" OwnerDisplayName=\"user46\" AcceptedAnswerId=\"8\"",
    );
    let (posts, _) = posts(&dump(&row)).unwrap();
    let post = &posts[0];
    assert_eq!((post.id, post.score, post.created), (7, -3, 1_353_782_770_677));
    assert_eq!(post.owner, Owner { id: None, name: Some("user46".into()) });
    assert_eq!((post.licence.as_deref(), post.body.as_str()), (None, "<p>B7</p>"));
    let PostKind::Question { title, tags, accepted, closed } = &post.kind else { panic!("a question") };
    assert_eq!((title.as_str(), tags.len(), *accepted, *closed), ("T7", 2, Some(8), false));
}

#[test]
fn each_rule_drops_its_rows_and_counts_them() {
    let at = "2020-01-01T00:00:00.000";
    let rows = [
        question(1, at, ""),
        format!("<row Id=\"2\" PostTypeId=\"4\" CreationDate=\"{at}\" Body=\"wiki\" />"),
        question(3, at, "OwnerUserId=\"-2\""),
        format!("<row Id=\"4\" PostTypeId=\"1\" CreationDate=\"{at}\" Title=\"t\" Body=\" \" />"),
        format!("<row Id=\"5\" PostTypeId=\"2\" CreationDate=\"{at}\" Body=\"no parent\" />"),
        question(1_000_000_001, at, ""),
        question(2_000_000_000, at, ""),
        question(6, at, "OwnerUserId=\"-1\""),
    ];
    let (posts, drops) = posts(&dump(&rows.concat())).unwrap();
    assert_eq!(posts.iter().map(|post| post.id).collect::<Vec<_>>(), [1, 6]);
    let counts: Vec<_> = drops.iter().map(|(rule, count)| (rule.name(), *count)).collect();
    assert_eq!(
        counts,
        [("other_kind", 1), ("answer_bot", 1), ("fabricated_id", 2), ("empty_body", 1), ("incomplete", 1)]
    );
}

#[test]
fn xml_bombs_oversized_elements_and_other_files_are_errors() {
    let bomb = "<!DOCTYPE posts [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><posts><row Id=\"1\" Body=\"&b;\"/></posts>";
    check_error(bomb, "a document type declaration; a dump has none");
    check_error("<posts><row Id=\"1\" PostTypeId=\"1\" Body=\"&b;\"/></posts>", "b");
    check_error(&dump(&format!("<row Body=\"{}\"/>", "x".repeat(2 << 20))), "one element is longer than 1048576 bytes");
    check_error("<comments><row Id=\"1\"/></comments>", "the root element is <comments>, not <posts>");
    check_error("<posts><row Id=\"1\"><row/></row></posts>", "unexpected element <row>");
    check_error("<posts><row Id=\"1\" Id=\"2\"/></posts>", "duplicat");
    check_error("<posts><row Id=\"1\" PostTypeId=\"1\" Body=\"cut off", "");
    check_error("", "no <posts> element");
    check_error("PK\u{3}\u{4} not xml", "no <posts> element");
    assert!(Posts::new(&b"<posts><row Body=\"\xff\xfe\"/></posts>"[..], "x").next().unwrap().is_err());
}

/// Each of these would take minutes or gigabytes from a reader that is only correct.
#[test]
fn files_made_to_cost_much_are_refused_at_once() {
    let mut entities = String::from("<!DOCTYPE posts [<!ENTITY a0 \"lol\">");
    (1..30).for_each(|n| entities.push_str(&format!("<!ENTITY a{n} \"{}\">", format!("&a{};", n - 1).repeat(10))));
    check_error(&format!("{entities}]><posts><row Body=\"&a29;\"/></posts>"), "a document type declaration");
    let long = format!("<!DOCTYPE posts [<!ENTITY a \"{}\">]><posts/>", "a".repeat(100_000));
    check_error(&long, "a document type declaration");
    let external = "<!DOCTYPE posts [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><posts>&x;</posts>";
    check_error(external, "a document type declaration");
    check_error("<posts>&x;</posts>", "a reference to an entity between rows");
    let attributes = |count: usize| (0..count).map(|n| format!(" a{n}=\"\"")).collect::<String>();
    check_error(&dump(&format!("<row{}/>", attributes(65))), "more than 64 attributes");
    check_error(&dump(&format!("<row{}/>", attributes(90_000))), "more than 64 attributes");
    check_error(&dump(&format!("<row{}/>", attributes(1_000_000))), "one element is longer than 1048576 bytes");
    assert!(posts(&dump(&format!("<row{}/>", attributes(64)))).is_ok());
    check_error(&"<posts>".repeat(100_000), "unexpected element <posts>");
    check_error(&format!("<posts>{}", "<row>".repeat(100_000)), "unexpected element <row>");
    check_error(&format!("<posts><!--{}", "x".repeat(2 << 20)), "one element is longer than 1048576 bytes");
}

#[test]
fn events_come_in_the_order_of_their_moments_not_of_the_file() {
    let rows = [
        question(10, "2020-03-01T00:00:00.000", "OwnerUserId=\"5\" Tags=\"&lt;open-ended&gt;\""),
        "  <row Id=\"11\" PostTypeId=\"2\" ParentId=\"12\" CreationDate=\"2011-04-08T00:00:00.000\" Body=\"é\" Score=\"2\"/>\r\n".to_owned(),
        question(12, "2011-04-07T23:59:59.999", "ContentLicense=\"CC0 1.0\""),
        question(13, "2018-05-01T00:00:00", "OwnerUserId=\"-1\""),
    ];
    let site = Site::new("beer.stackexchange.com", std::path::Path::new("x/Posts.xml"));
    let events = Events::index(Cursor::new(dump(&rows.concat())), "Posts.xml", site).unwrap();
    assert_eq!(events.remaining(), 4);
    let events: Vec<Event> = events.collect::<Result<_, _>>().unwrap();
    let told: Vec<(String, Option<String>)> = events
        .iter()
        .map(|event| match &event.kind {
            EventKind::Asked(q) => (q.id.clone(), q.licence.clone()),
            EventKind::Answered(a) => (a.id.clone(), Some(a.licence.clone())),
        })
        .collect();
    let row = |id: &str, licence: &str| (format!("beer.stackexchange.com/{id}"), Some(licence.to_owned()));
    let wanted =
        [row("12", "CC0 1.0"), row("11", "CC BY-SA 3.0"), row("13", "CC BY-SA 3.0"), row("10", "CC BY-SA 4.0")];
    assert_eq!(told, wanted);
    let EventKind::Asked(last) = &events[3].kind else { panic!("a question") };
    assert_eq!(last.url.as_deref(), Some("https://beer.stackexchange.com/questions/10"));
    let author = last.author.as_ref().unwrap();
    assert_eq!(author.url.as_deref(), Some("https://beer.stackexchange.com/users/5"));
    assert_eq!(last.closedness, Some(0.1));
    let EventKind::Answered(answer) = &events[1].kind else { panic!("an answer") };
    assert_eq!((answer.text.as_str(), answer.question.as_str()), ("é", "beer.stackexchange.com/12"));
}

#[test]
fn a_file_with_two_byte_order_marks_is_read_where_its_rows_lie() {
    let xml = format!("\u{feff}{}", dump(&question(7, "2020-01-01T00:00:00.000", "")));
    let events = Events::index(Cursor::new(xml), "Posts.xml", Site::named("s")).unwrap();
    assert_eq!(events.map(|event| event.unwrap().at).collect::<Vec<_>>(), [1_577_836_800_000]);
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(xml in "(<posts>)?(<row|/>| Id=\"[0-9]{1,3}\"| Body=\"[&;#x0-9a-z<]{0,9}\"|</posts>|<!--|-->|&#?|\"|<|>){0,30}") {
        let _ = posts(&xml);
        let _ = Events::index(Cursor::new(xml), "Posts.xml", Site::named("s")).map(|events| events.count());
    }
}
