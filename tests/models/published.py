"""Published and independently counted costs, from tables outside this project: the oracle for parameters and MACs."""

from __future__ import annotations

# name: (side in pixels, parameters, MACs or None, activations in millions as printed or None)
NETWORKS = {
    "resnet18": (224, 11_689_512, 1_814_073_344, "2.48"),
    "resnet34": (224, 21_797_672, 3_663_761_408, None),
    "resnet50": (224, 25_557_032, 4_089_184_256, "11.11"),
    "resnet101": (224, 44_549_160, 7_801_405_440, "16.23"),
    "resnet152": (224, 60_192_808, 11_513_626_624, "22.55"),
    "resnet_rs50_160": (160, 35_691_912, None, None),
    "resnet_rs101_160": (160, 63_618_696, None, None),
    "resnet_rs101_192": (192, 63_618_696, None, None),
    "resnet_rs152_192": (192, 86_621_576, None, None),
    "resnet_rs152_224": (224, 86_621_576, None, None),
    "resnet_rs152_256": (256, 86_621_576, None, None),
    "resnet_rs200_256": (256, 93_209_992, None, None),
    "resnet_rs270_256": (256, 129_861_448, None, None),
    "resnet_rs350_256": (256, 163_956_168, None, None),
    "resnet_rs350_320": (320, 163_956_168, None, None),
    "resnet_rs420_320": (320, 191_891_656, None, None),
    "mobilenet_v1": (224, 4_231_976, 568_740_352, None),
    "mobilenet_v2": (224, 3_504_872, 300_774_272, "6.68"),
    "mobilenet_v3_small": (224, 2_542_856, 56_510_400, None),
    "mobilenet_v3_large": (224, 5_483_032, 216_589_760, None),
    "efficientnet_b0": (224, 5_288_548, 385_814_752, "6.75"),
    "efficientnet_b1": (240, 7_794_184, 686_802_832, "10.88"),
    "efficientnet_b2": (260, 9_109_994, 993_561_872, "13.83"),
    "efficientnet_b3": (300, 12_233_232, 1_827_141_392, "23.83"),
    "efficientnet_b4": (380, 19_341_616, 4_393_771_024, "49.49"),
    "efficientnet_b5": (456, 30_389_784, 10_266_384_752, "98.86"),
    "efficientnet_b6": (528, 43_040_704, 19_067_593_536, None),
    "efficientnet_b7": (600, 66_347_960, 37_745_884_192, None),
    "tinynet_a": (192, 6_187_972, 336_867_712, None),
    "tinynet_b": (188, 3_730_562, 200_709_360, None),
    "tinynet_c": (184, 2_457_234, 99_536_432, None),
    "tinynet_d": (152, 2_338_446, 51_580_656, None),
    "tinynet_e": (106, 2_042_972, 24_356_848, None),
}

CIFAR_PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018}

# width: (parameters, MACs) of MobileNetV1 at 224 pixels
MOBILENET_V1_WIDTHS = {
    0.25: (470_072, 41_030_272),
    0.5: (1_331_592, 149_497_088),
    0.75: (2_585_560, 325_400_448),
    1.0: (4_231_976, 568_740_352),
    1.25: (6_270_840, 879_516_800),
}

# side in pixels: MACs of MobileNetV1 at width 1
MOBILENET_V1_SIDES = {224: 568_740_352, 192: 418_121_728, 160: 290_675_200, 128: 186_400_768}

# width: (parameters, MACs) of MobileNetV2 at 224 pixels
MOBILENET_V2_WIDTHS = {
    0.1: (1_367_080, 26_659_648),
    0.25: (1_519_112, 37_201_312),
    0.35: (1_677_128, 59_285_808),
    0.5: (1_968_680, 97_131_840),
    0.75: (2_636_424, 209_069_792),
    1.0: (3_504_872, 300_774_272),
    1.3: (5_386_792, 509_374_560),
    1.4: (6_108_776, 582_195_824),
    2.0: (11_258_088, 1_137_428_224),
}

# side in pixels: MACs of MobileNetV2 at width 1
MOBILENET_V2_SIDES = {
    224: 300_774_272,
    192: 221_316_608,
    160: 154_083_200,
    128: 99_074_048,
    96: 56_289_152,
}

# exponent: (side, parameters, MACs) of EfficientNet-B0 under the compound formula
COMPOUND_B0 = {
    1: (258, 9_109_994, 992_629_472),
    2: (296, 12_233_232, 1_809_892_064),
    3: (341, 16_338_888, 3_250_498_024),
}

# (name, depth, width, resolution): MACs
SCALED_MACS = {
    ("mobilenet_v1", 1, 2, 1): 2_216_465_408,
    ("mobilenet_v1", 1, 1, 2): 2_271_889_408,
    ("mobilenet_v1", 1.4, 1.2, 1.3): 2_469_723_976,
    ("mobilenet_v2", 4, 1, 1): 1_219_587_776,
    ("mobilenet_v2", 1, 2, 1): 1_137_428_224,
    ("mobilenet_v2", 1, 1, 2): 1_199_257_088,
    ("mobilenet_v2", 1.4, 1.2, 1.3): 1_442_045_088,
    ("resnet50", 4, 1, 1): 14_570_749_952,
    ("resnet50", 1, 2, 1): 16_116_613_120,
    ("resnet50", 1, 1, 2): 16_350_593_024,
    ("resnet50", 1.4, 1.2, 1.3): 15_945_977_664,
    ("resnet50", 1.2**2, 1.1**2, 1.15**2): 16_334_706_880,
}

# name: what pthflops printed at the sides below; it adds norms, activations and sums to the MACs of convolutions
PRINTED_SIDES = (224, 317, 449, 634, 897, 1268, 1793, 2535)
PRINTED_OPERATIONS = {
    "resnet18": (
        1_826_793_960,
        3_724_534_184,
        7_766_589_352,
        14_842_850_984,
        30_131_724_200,
        59_106_946_280,
        118_692_736_936,
        235_420_746_984,
    ),
    "mobilenet_v2": (
        314_564_264,
        639_501_512,
        1_342_221_848,
        2_546_793_320,
        5_187_203_352,
        10_159_558_008,
        20_395_964_696,
        40_435_797_720,
    ),
}
