use super::*;

const PLENTY: usize = 10_000;

fn texts(block: &Block) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    let fields = block.fields.iter();
    fields
        .map(|field| (text(&*field.name), text(&*field.value)))
        .collect()
}

/// RFC 7541, appendix C.6: three responses on one connection with a table of 256 octets, Huffman coded.
#[test]
fn the_responses_of_the_specification() {
    let mut decoder = Decoder::new();
    let first = b"\x3f\xe1\x01\
        \x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\
        \x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\
        \x97\xc8\xe9\xae\x82\xae\x43\xd3";
    let expected = [
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ];
    assert_eq!(texts(&decoder.decode(first, PLENTY).unwrap()), expected);
    assert_eq!(decoder.size, 222);
    let second = b"\x48\x83\x64\x0e\xff\xc1\xc0\xbf";
    let expected = [(":status", "307"), expected[1], expected[2], expected[3]];
    assert_eq!(texts(&decoder.decode(second, PLENTY).unwrap()), expected);
    let third = b"\x88\xc1\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\
        \xe0\x84\xa6\x2d\x1b\xff\xc0\x5a\x83\x9b\xd9\xab\x77\xad\x94\xe7\x82\x1d\xd7\xf2\xe6\xc7\xb3\
        \x35\xdf\xdf\xcd\x5b\x39\x60\xd5\xaf\x27\x08\x7f\x36\x72\xc1\xab\x27\x0f\xb5\x29\x1f\x95\x87\
        \x31\x60\x65\xc0\x03\xed\x4e\xe5\xb1\x06\x3d\x50\x07";
    let expected = [
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ];
    assert_eq!(texts(&decoder.decode(third, PLENTY).unwrap()), expected);
    assert_eq!(decoder.size, 215);
}

#[test]
fn what_is_written_can_be_read() {
    let long = "v".repeat(300);
    let mut block = Vec::new();
    put_indexed(&mut block, 3);
    put_value(&mut block, 31, b"application/grpc");
    put_field(&mut block, b"te", long.as_bytes());
    let expected = [
        (":method", "POST"),
        ("content-type", "application/grpc"),
        ("te", &long),
    ];
    let mut decoder = Decoder::new();
    let decoded = decoder.decode(&block, PLENTY).unwrap();
    assert_eq!(texts(&decoded), expected);
    assert!(!decoded.is_cut && decoder.table.is_empty());
}

#[test]
fn a_list_over_the_limit_is_cut() {
    let mut block = Vec::new();
    put_field(&mut block, b"a", b"b");
    put_field(&mut block, b"c", b"d");
    let decoded = Decoder::new().decode(&block, 2 * 34 - 1).unwrap();
    assert_eq!((texts(&decoded), decoded.is_cut), (vec![("a", "b")], true));
    assert!(!Decoder::new().decode(&block, 2 * 34).unwrap().is_cut);
}

#[test]
fn a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new();
    decoder.decode(b"\x40\x01a\x01b", PLENTY).unwrap();
    assert_eq!((decoder.table.len(), decoder.size), (1, 34));
    decoder.decode(b"\x3e\x40\x01c\x01d", PLENTY).unwrap();
    assert_eq!((decoder.table.len(), decoder.size), (0, 0));
}

#[test]
fn blocks_that_are_none() {
    for block in [
        &b"\x80"[..],                    // index 0
        b"\xbe",                         // an index beyond both tables
        b"\xff\xff\xff\xff\xff\xff\x01", // an integer without end
        b"\x00\x05ab",                   // a string cut short
        b"\x00\x81\xff\x00",             // padding of a whole byte
        b"\x82\x20",                     // a new table size after a field
        b"\x3f\xe2\x1f",                 // a table larger than allowed
        b"\x7f",                         // an integer cut short
    ] {
        let decoded = Decoder::new().decode(block, PLENTY);
        assert_eq!(decoded, Err(Malformed), "{block:x?}");
    }
}
