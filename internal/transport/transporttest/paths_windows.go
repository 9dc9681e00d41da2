package transporttest

func (kit) paths() []test { return nil }
