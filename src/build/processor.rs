//! Which processors the program can be built for: those that `src/sys/arch/mod.rs` has a file for. Part of
//! `build.rs`.

/// Why it cannot be built for a processor, a system and a width of pointers, as Cargo names them;
/// `source` is `src/sys/arch/mod.rs`.
pub fn refusal(arch: &str, os: &str, width: &str, source: &str) -> Option<String> {
    let files = source.lines().filter(|line| line.contains("path = ") && !line.contains("miri.rs"));
    let names = files.filter_map(|line| line.split("target_arch = \"").nth(1)?.split('"').next());
    let names: Vec<&str> = names.collect();
    // Those that the kernel knows with pointers of another width too have other calls there.
    let is_narrow = ["x86", "arm", "mips"].contains(&arch);
    let is_supported = names.contains(&arch) && is_narrow == (width == "32");
    let is_supported = is_supported && ["linux", "android"].contains(&os);
    (!is_supported).then(|| {
        let names = names.join(", ");
        format!(
            "fdholder cannot be built for {arch} with {width}-bit pointers and {os}: it supports Linux \
             on {names}. README.md, \"A processor\", says how to add one."
        )
    })
}
