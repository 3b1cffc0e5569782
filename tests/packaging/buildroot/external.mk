include $(BR2_EXTERNAL_FDHOLDER_PATH)/fdholder/fdholder.mk
