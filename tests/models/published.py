"""Published and independently counted costs, from tables outside this project: the oracle for parameters and MACs."""

from __future__ import annotations

# name: (side in pixels, parameters, MACs, activations in millions as printed, or None)
NETWORKS = {
    "resnet18": (224, 11_689_512, 1_814_073_344, "2.48"),
    "resnet34": (224, 21_797_672, 3_663_761_408, None),
    "resnet50": (224, 25_557_032, 4_089_184_256, "11.11"),
    "resnet101": (224, 44_549_160, 7_801_405_440, "16.23"),
    "resnet152": (224, 60_192_808, 11_513_626_624, "22.55"),
    "mobilenet_v2": (224, 3_504_872, 300_774_272, "6.68"),
    "efficientnet_b0": (224, 5_288_548, 385_814_752, "6.75"),
    "efficientnet_b1": (240, 7_794_184, 686_802_832, "10.88"),
    "efficientnet_b2": (260, 9_109_994, 993_561_872, "13.83"),
    "efficientnet_b3": (300, 12_233_232, 1_827_141_392, "23.83"),
    "efficientnet_b4": (380, 19_341_616, 4_393_771_024, "49.49"),
    "efficientnet_b5": (456, 30_389_784, 10_266_384_752, "98.86"),
    "efficientnet_b6": (528, 43_040_704, 19_067_593_536, None),
    "efficientnet_b7": (600, 66_347_960, 37_745_884_192, None),
}

CIFAR_PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018}

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
