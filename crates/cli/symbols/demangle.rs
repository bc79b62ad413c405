//! Names of symbols as compilers write them to names as people do.
//!
//! blazesym demangles too, but prints parameters, which `perf script` does not, and a few
//! hundred bytes of a hostile symbol can ask for gigabytes; here the answer is bounded.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, Symbol};

/// The longest name that is shown, in bytes, and the longest that is made of a symbol.
const LONGEST: usize = 16 << 10;

/// Text that takes no more than [`LONGEST`] bytes.
#[derive(Default)]
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len().saturating_add(text.len()) > LONGEST {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// A symbol's name for people: Rust's without hash, C++'s without parameters and return
/// type (as perf prints them), any other as it is. What is not UTF-8 is replaced; a name
/// of more than 16 KiB is cut.
pub(super) fn demangle(name: &[u8]) -> String {
    let name = name.get(..LONGEST).unwrap_or(name);
    let text = String::from_utf8_lossy(name);
    rust(&text).or_else(|| cpp(&text)).unwrap_or_else(|| text.into_owned())
}

fn rust(name: &str) -> Option<String> {
    let name = rustc_demangle::try_demangle(name).ok()?;
    let mut out = Bounded::default();
    write!(out, "{name:#}").ok()?;
    Some(out.0)
}

fn cpp(name: &str) -> Option<String> {
    if !name.starts_with("_Z") && !name.starts_with("___Z") {
        return None;
    }
    let symbol = Symbol::new(name).ok()?;
    let mut out = Bounded::default();
    let options = DemangleOptions::new().no_params().no_return_type();
    symbol.structured_demangle(&mut out, &options).ok()?;
    (!out.0.is_empty()).then(|| as_binutils(&out.0))
}

/// What the mangling abbreviates, which perf's demangler (binutils') leaves abbreviated.
const STREAMS: [(&str, &str, &str); 4] = [
    ("std::basic_istream<char, std::char_traits<char> >", "std::istream", "basic_istream"),
    ("std::basic_ostream<char, std::char_traits<char> >", "std::ostream", "basic_ostream"),
    ("std::basic_iostream<char, std::char_traits<char> >", "std::iostream", "basic_iostream"),
    (
        "std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
        "std::string",
        "basic_string",
    ),
];

/// Numbers as template arguments: the type in brackets before, and the suffix after.
const NUMBERS: [(&str, &str); 5] = [
    ("(unsigned long)", "ul"),
    ("(unsigned int)", "u"),
    ("(unsigned long long)", "ull"),
    ("(long long)", "ll"),
    ("(long)", "l"),
];

/// Writes a demangled name as binutils do: `std::istream`, `0ul`, `true`. Constructors and
/// destructors keep the long form of their class, as there.
fn as_binutils(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let stream = STREAMS.iter().find_map(|(long, short, class)| {
            let after = rest.strip_prefix(long)?;
            let member = after.strip_prefix("::").map(|m| m.strip_prefix('~').unwrap_or(m));
            (!member.is_some_and(|m| m.starts_with(class))).then_some((*short, after))
        });
        let number = NUMBERS.iter().find_map(|(bracket, suffix)| {
            let after = rest.strip_prefix(bracket)?;
            let sign = usize::from(after.starts_with('-'));
            let digits = after.get(sign..)?.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = after.split_at_checked(sign.checked_add(digits)?)?;
            (digits > 0).then_some((number, *suffix, after))
        });
        let truth = [("(bool)1", "true"), ("(bool)0", "false")];
        let truth = truth.iter().find_map(|(long, short)| Some((*short, rest.strip_prefix(long)?)));
        if let Some((short, after)) = stream.or(truth) {
            out.push_str(short);
            rest = after;
        } else if let Some((number, suffix, after)) = number {
            out.push_str(number);
            out.push_str(suffix);
            rest = after;
        } else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `c++filt -p` and `rustfilt` print.
    #[test]
    fn rust_and_cpp() {
        let names = [
            ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
            ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
            ("_ZN5space3fooEibc", "space::foo"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backEOi",
                "std::vector<int, std::allocator<int> >::push_back",
            ),
            ("_ZN1AC1Ev", "A::A"),
            ("_ZN12_GLOBAL__N_14workEi", "(anonymous namespace)::work"),
            ("_Z3maxIiET_S0_S0_", "max<int>"),
            ("_ZNSi6ignoreEl", "std::istream::ignore"),
            ("_ZNSiC1Ev", "std::basic_istream<char, std::char_traits<char> >::basic_istream"),
            ("_ZN5boundILm0ELln2ELb1ELj7EE3getEv", "bound<0ul, -2l, true, 7u>::get"),
            ("main", "main"),
            ("_Z", "_Z"),
            ("_ZN", "_ZN"),
            ("do_syscall_64", "do_syscall_64"),
        ];
        for (mangled, expected) in names {
            assert_eq!(demangle(mangled.as_bytes()), expected);
        }
    }

    #[test]
    fn hostile_names_stay_bounded() {
        assert_eq!(demangle(b"a\xff<script>\n"), "a\u{fffd}<script>\n");
        assert_eq!(demangle(&[b'x'; 40_000]).len(), LONGEST);
        assert_eq!(demangle(&[b'y'; 4096]), "y".repeat(4096));
        // Each template argument is twice the one before: 2^64 letters.
        let mut bomb = String::from("_Z1fI1AI1aS0_E");
        for n in 0..64_u32 {
            let letter = char::from_digit(n % 36, 36).unwrap().to_ascii_uppercase();
            bomb.push_str(&format!("1BIS{letter}_S{letter}_E"));
        }
        bomb.push_str("EvT_");
        assert!(demangle(bomb.as_bytes()).len() <= LONGEST);
        // Deep nesting must not exhaust the stack.
        let deep = format!("_Z1f{}i", "P".repeat(8000));
        assert_eq!(demangle(deep.as_bytes()), deep);
    }
}
