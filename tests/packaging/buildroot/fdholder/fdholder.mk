################################################################################
#
# fdholder
#
################################################################################

FDHOLDER_VERSION = 0.1.0
FDHOLDER_SITE = $(realpath $(BR2_EXTERNAL_FDHOLDER_PATH)/../../..)
FDHOLDER_SITE_METHOD = local
FDHOLDER_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /target
FDHOLDER_LICENSE = MIT or Apache-2.0

FDHOLDER_FEATURES = $(foreach tool, \
	transferdump store retrieve delete list getdump setdump listen activate import adopt \
	fdholderd daemon, \
	$(if $(BR2_PACKAGE_FDHOLDER_$(call UPPERCASE,$(tool))),$(tool)))
FDHOLDER_CARGO_BUILD_OPTS = \
	--no-default-features --features "$(strip $(FDHOLDER_FEATURES))"
FDHOLDER_CARGO_ENV = FDHOLDER_DOCS=$(@D)/docs

# Buildroot does not fetch the crates of a package that it does not download.
define FDHOLDER_FETCH_CRATES
	cd $(@D) && $(TARGET_MAKE_ENV) $(PKG_CARGO_ENV) cargo fetch --locked
endef
FDHOLDER_PRE_BUILD_HOOKS += FDHOLDER_FETCH_CRATES

FDHOLDER_PROFILE = $(if $(BR2_ENABLE_DEBUG),debug,release)

define FDHOLDER_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 \
		$(@D)/target/$(RUSTC_TARGET_NAME)/$(FDHOLDER_PROFILE)/fdholder \
		$(TARGET_DIR)/usr/bin/fdholder
	cd $(TARGET_DIR)/usr/bin && xargs -n 1 ln -sf fdholder <$(@D)/docs/tools
endef

$(eval $(cargo-package))
