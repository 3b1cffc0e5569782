//! The regular expressions of the C library, with which ours are compared. The library must be glibc, in
//! the C locale, which a program has unless it calls `setlocale`.

use libc::{REG_EXTENDED, REG_NOSUB, REG_STARTEND, c_int, regex_t, regmatch_t};
use std::ffi::CString;
use std::mem::MaybeUninit;

/// An expression that the C library has compiled.
pub struct Oracle(regex_t);

impl Oracle {
    /// Compiles an expression. `None` if the C library refuses it, or if it contains a NUL, which the C
    /// interface cannot express.
    pub fn compile(expression: &[u8]) -> Option<Oracle> {
        let expression = CString::new(expression).ok()?;
        let mut regex = MaybeUninit::<regex_t>::uninit();
        // SAFETY: regcomp only writes to the structure, and reads the string up to its NUL. When it
        // returns 0 the structure is complete.
        unsafe {
            let flags = REG_EXTENDED | REG_NOSUB;
            let status = libc::regcomp(regex.as_mut_ptr(), expression.as_ptr(), flags);
            (status == 0).then(|| Oracle(regex.assume_init()))
        }
    }

    /// Whether it matches anywhere in the text.
    pub fn matches(&self, text: &[u8]) -> bool {
        let mut whole = regmatch_t { rm_so: 0, rm_eo: text.len() as c_int };
        // The C library does not need the NUL, but a sanitizer does.
        let text = [text, &[0]].concat();
        // SAFETY: regcomp made the structure, and only drop frees it. With REG_STARTEND the one element of
        // the array of matches gives the end of the text.
        let status = unsafe {
            libc::regexec(&raw const self.0, text.as_ptr().cast(), 1, &raw mut whole, REG_STARTEND)
        };
        status == 0
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // SAFETY: regcomp made the structure, and it is not used after this call.
        unsafe { libc::regfree(&raw mut self.0) };
    }
}
